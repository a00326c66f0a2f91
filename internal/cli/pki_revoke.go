package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func pkiRevokeCommand(r *root) *cobra.Command {
	var what phase.Revocation
	cmd := &cobra.Command{
		Use:   "revoke --machine MACHINE | --user USER | --serial SERIAL",
		Short: "Take back what a machine or a user holds, or one certificate",
		Long: `Take back what a machine, a user or a robot holds, or one certificate: within seconds API servers, kubelets, etcd and Vault refuse
it, and connections from where it belongs end.

A machine is shut out as a whole: ` + "`ashlar up`" + ` leaves it alone until its pool has become smaller and it is made anew. A user is shut
out until ` + "`ashlar user enable`" + `. A certificate is any that Vault's log knows, also one that nobody uses; a machine whose certificate
it is gets another, and starts what uses it again.`,
		Example: `  ashlar pki revoke --machine worker-2 --reason "stolen disk, INC-42"
  ashlar pki revoke --user alice --reason "left the company"`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			named := 0
			for _, n := range []string{what.Machine, what.User, what.Serial} {
				if n != "" {
					named++
				}
			}
			if named != 1 {
				return phase.InputError{Err: errors.New("name one machine, one user or one serial number")}
			}
			if strings.TrimSpace(what.Reason) == "" {
				return phase.InputError{Err: errors.New("--reason is missing: whoever finds the door shut will want to know why")}
			}
			if what.User != "" {
				return checkName("user", what.User)
			}
			return nil
		},
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			report, err := c.Revoke(ctx, what)
			if report.Heard == nil && err != nil {
				return err
			}
			if e := ui.Write(cmd.OutOrStdout(), r.format, report, func(w io.Writer) error { return revocationTable(w, report) }); e != nil {
				return e
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&what.Machine, "machine", "", "all that this machine was given")
	cmd.Flags().StringVar(&what.User, "user", "", "all that this user or robot was given")
	cmd.Flags().StringVar(&what.Serial, "serial", "", "the certificate with this serial number")
	cmd.Flags().StringVar(&what.Reason, "reason", "", "why, for whoever asks later")
	cmd.Flags().BoolVar(&what.SeverAll, "sever-all", false, "end every open connection to the servers concerned, whoever's it is; clients connect again")
	must(cmd.RegisterFlagCompletionFunc("machine", r.machineNames))
	for _, flag := range []string{"user", "serial", "reason"} {
		must(cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions))
	}
	return cmd
}

func revocationTable(w io.Writer, report phase.RevocationReport) error {
	var rows [][]string
	for _, c := range report.Certificates {
		ca, name, serial := string(c.CA), c.Name, shortSerial(c.Serial)
		if c.User != "" {
			ca, name, serial = "-", c.User, "-"
		}
		rows = append(rows, []string{ca, name, serial, c.Until.Format("2006-01-02 15:04")})
	}
	if err := ui.Rows(w, []string{"CA", "NAME", "SERIAL", "WOULD HAVE ENDED (UTC)"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows = nil
	for _, h := range report.Heard {
		said := fmt.Sprintf("refuses it since %.1fs", h.Seconds)
		if h.Problem != "" {
			said = h.Problem
		}
		rows = append(rows, []string{h.Machine, ui.Mark(w, h.Problem == "", said)})
	}
	if len(rows) > 0 {
		if err := ui.Rows(w, []string{"MACHINE", "ANSWER"}, rows); err != nil {
			return err
		}
	}
	for _, n := range report.Notes {
		fmt.Fprintf(w, "%s %s\n", ui.Mark(w, false, "note"), n)
	}
	_, err := fmt.Fprintf(w, "\n%s: %d certificates and credentials revoked, %d Vault tokens ended\n", report.Of, len(report.Certificates), report.Tokens)
	return err
}
