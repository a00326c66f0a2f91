package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func pkiCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pki",
		Short:   "Look after certificates",
		Long:    "Look after the cluster's CAs, and the certificates that they have signed.",
		Example: "  ashlar pki list",
	}
	cmd.AddCommand(pkiListCommand(r), pkiRotateCommand(r), pkiRevokeCommand(r), pkiAuditCommand(r))
	return cmd
}

func pkiListCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List every CA, and every certificate in use",
		Long: `List every CA, and every certificate that a machine reports it uses: what it is for, until when it is good, and when its
machine gets the next one. What needs attention comes first. -o json has subjects, names and serial numbers in full.`,
		Example: `  ashlar pki list
  ashlar pki list -o json`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			now := time.Now()
			all, err := phase.Certificates(ctx, c, now)
			if err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, all, func(w io.Writer) error { return pkiTable(w, all, now) })
		}),
	}
}

func pkiTable(w io.Writer, all []phase.CertificateReport, now time.Time) error {
	var rows [][]string
	bad := 0
	for _, c := range all {
		name, machine, renewal := c.Name, c.Machine, "-"
		if name == "" {
			name, machine = "(CA)", "-"
		}
		if c.Renew != nil {
			renewal = "in " + c.Renew.Sub(now).Round(time.Minute).String()
			if c.Renew.Before(now) {
				renewal = "due"
			}
		}
		if c.State != phase.Valid {
			bad++
		}
		units := strings.Join(c.Units, ",")
		if units == "" {
			units = "-"
		}
		expires := "never"
		if !c.NotAfter.IsZero() {
			expires = c.NotAfter.UTC().Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{ui.Mark(w, c.State == phase.Valid, string(c.State)), string(c.CA), name, machine, units,
			expires, renewal, dash(shortSerial(c.Serial))})
	}
	if err := ui.Rows(w, []string{"STATE", "CA", "NAME", "MACHINE", "UNITS", "EXPIRES (UTC)", "RENEWAL", "SERIAL"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d certificates, %d need attention\n", len(all), bad)
	return err
}

// shortSerial is enough to find a certificate by.
func shortSerial(s string) string {
	if parts := strings.Split(s, ":"); len(parts) > 4 {
		return strings.Join(parts[:4], ":") + "…"
	}
	return s
}
