package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/ui"
)

func statusCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show machines, units and certificates as the machines report them",
		Long: `Show machines, units and certificates as the machines report them, and below, what is wrong with any. While Vault is
away there is only what the provider of the machines knows, and when the certificates on their disks expire. -o json has every unit and certificate.`,
		Example: `  ashlar status
  ashlar status -o json`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			report, err := phase.Look(ctx, c)
			if err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, report, func(w io.Writer) error { return statusTable(w, report, time.Now()) })
		}),
	}
}

func statusTable(w io.Writer, report []phase.MachineReport, now time.Time) error {
	var machines, problems [][]string
	for _, m := range report {
		settled, restarts := 0, 0
		for _, u := range m.Status.Units {
			if u.State.Settled() {
				settled++
			} else {
				problems = append(problems, []string{m.Name + "/" + u.Name, strings.TrimSpace(string(u.State) + " " + u.Reason)})
			}
			restarts += u.Restarts
		}
		for _, p := range m.Status.Problems {
			problems = append(problems, []string{m.Name, problem(w, p)})
		}
		if u := m.Status.UserNamespaces; u != nil && !u.Able {
			problems = append(problems, []string{m.Name, phase.OwnUsers + u.Why})
		}
		machines = append(machines, []string{m.Name, string(m.Role), knownBy(m), string(m.State),
			fmt.Sprintf("%d/%d", settled, len(m.Status.Units)), fmt.Sprint(restarts),
			firstRenewal(m.Status.Certificates, now), age(m.Status.Seen, now)})
	}
	if err := ui.Rows(w, []string{"MACHINE", "ROLE", "ADDRESS", "STATE", "UNITS", "RESTARTS", "NEXT RENEWAL", "SEEN"}, machines); err != nil {
		return err
	}
	if lines := confinement(report); len(lines) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(lines, "\n"))
	}
	if len(problems) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return ui.Rows(w, []string{"WHERE", "PROBLEM"}, problems)
}

// confinement says what workers' kernels do by SELinux, and what follows.
func confinement(report []phase.MachineReport) []string {
	var lines []string
	for _, mode := range []selinux.Mode{selinux.Enforcing, selinux.Permissive, selinux.Absent} {
		var names []string
		for _, m := range report {
			if m.Role == v1alpha1.RoleWorker && m.Status.SELinux.Mode == mode {
				names = append(names, m.Name)
			}
		}
		if len(names) > 0 {
			lines = append(lines, fmt.Sprintf("SELinux is %s on %s: %s", mode, strings.Join(names, ", "), selinux.State{Mode: mode}.Follows()))
		}
	}
	return lines
}

// knownBy has a machine's own, and what the internet knows it by.
func knownBy(m phase.MachineReport) string {
	if m.Public.IsValid() {
		return address(m.Address) + " " + m.Public.String()
	}
	return address(m.Address)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return "-" // not reserved yet
	}
	return a.String()
}

func firstRenewal(certificates []agent.CertificateStatus, now time.Time) string {
	if len(certificates) == 0 {
		return "-"
	}
	first := slices.MinFunc(certificates, func(a, b agent.CertificateStatus) int { return a.Renew.Compare(b.Renew) })
	left := first.Renew.Sub(now)
	if left <= 0 {
		return "due"
	}
	return "in " + left.Round(time.Minute).String()
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}

// problem has what is bad by intention in red.
func problem(w io.Writer, p string) string {
	if p == phase.ToEverybody {
		return ui.Mark(w, false, p)
	}
	return p
}
