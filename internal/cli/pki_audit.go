package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func pkiAuditCommand(r *root) *cobra.Command {
	var filter audit.Filter
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read from Vault's log who got what, when and from where",
		Long: `Read from Vault's audit log who logged in, who was issued which certificate, and what was revoked, when and from where. A certificate
that is still good is flagged if no unit accounts for it: its machine's agent does not know of it, it was issued to somebody
who is no machine, or to a machine from another address. What is flagged may be in a thief's hands: ` + "`ashlar pki revoke --serial`" + `.

Exits with 2 if anything is flagged.`,
		Example: `  ashlar pki audit --machine worker-0 --since 24h
  ashlar pki audit -o json`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if since < 0 {
				return phase.InputError{Err: errors.New("--since is a time ago, such as 24h")}
			}
			if since > 0 {
				filter.Since = time.Now().Add(-since)
			}
			return nil
		},
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			if !c.Exists() {
				return errors.New("there is no such cluster yet: run `ashlar up`")
			}
			all, err := c.Audit(ctx)
			if err != nil {
				return err
			}
			events := append([]audit.Event{}, filter.Select(all)...)
			if err := ui.Write(cmd.OutOrStdout(), r.format, events, func(w io.Writer) error { return auditTable(w, events) }); err != nil {
				return err
			}
			if flagged(events) > 0 {
				return errDiffers
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&filter.Machine, "machine", "", "only what this machine did")
	cmd.Flags().StringVar(&filter.User, "user", "", "only what this user or robot did")
	cmd.Flags().StringVar(&filter.Serial, "serial", "", "only what was done with this certificate")
	cmd.Flags().DurationVar(&since, "since", 0, "only what was done in this time, such as 24h")
	must(cmd.RegisterFlagCompletionFunc("machine", r.machineNames))
	for _, flag := range []string{"user", "serial", "since"} {
		must(cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions))
	}
	return cmd
}

func flagged(events []audit.Event) int {
	n := 0
	for _, e := range events {
		if e.Flag != "" {
			n++
		}
	}
	return n
}

func auditTable(w io.Writer, events []audit.Event) error {
	var rows [][]string
	for _, e := range events {
		about := e.Name
		if e.Profile != "" {
			about = strings.TrimSpace(fmt.Sprintf("%s/%s %s", e.CA, e.Profile, e.Name))
		} else if e.CA != "" {
			about = strings.TrimSpace(fmt.Sprintf("%s %s", e.CA, e.Name))
		}
		what := string(e.Kind)
		if e.Refused != "" {
			what += " refused"
		}
		note := "-"
		if e.Flag != "" {
			note = ui.Mark(w, false, e.Flag)
		}
		rows = append(rows, []string{e.Time.UTC().Format("2006-01-02 15:04:05"), dash(e.Who), what, dash(about), dash(shortSerial(e.Serial)), dash(e.From), note})
	}
	if err := ui.Rows(w, []string{"TIME (UTC)", "WHO", "WHAT", "OF WHAT", "SERIAL", "FROM", "FLAG"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d events, %d flagged\n", len(events), flagged(events))
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
