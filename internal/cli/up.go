package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

// upReport is `up` and `plan` as data.
type upReport struct {
	Cluster     string        `json:"cluster"`
	Differences []phase.Drift `json:"differences"`
	Timings     []ui.Timing   `json:"timings,omitempty"`
}

func upCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Create, change or repair the cluster until it is as the file says",
		Long: `Observe the cluster phase by phase, say what differs from its file, and repair just that. It can be interrupted at
any time; the next one finishes the work.`,
		Example: `  ashlar up
  ashlar up -f staging.yaml -o json
  ashlar up --replace etcd-1`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			progress := ui.NewProgress(cmd.ErrOrStderr())
			drift, err := phase.Up(ctx, c, progress)
			if err != nil {
				return err
			}
			if len(drift) == 0 {
				progress.Done("nothing to change")
			} else {
				progress.Done("cluster %s is as %s says", c.Spec.Metadata.Name, r.file)
			}
			sayNotices(cmd.ErrOrStderr(), c.Notices())
			report := newUpReport(c, drift)
			report.Timings = progress.Timings()
			return ui.Write(cmd.OutOrStdout(), r.format, report, func(io.Writer) error { return nil })
		}),
	}
	cmd.Flags().StringSliceVar(&r.options.Replace, "replace", nil, "on aws: what may be replaced though that loses something, as plan names it")
	cmd.Flags().StringVar(&r.options.Unlock, "unlock", "", "on aws: the lock of the state that nobody holds any more")
	return cmd
}

func planCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Say what `up` would change, and why",
		Long: `Observe the cluster phase by phase, as up does, and say what differs from its file and what up would do about it.
It changes nothing.

Exits with 2 if anything differs.`,
		Example: `  ashlar plan
  ashlar plan -f staging.yaml -o json`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			drift, err := phase.Plan(ctx, c)
			if err != nil {
				return err
			}
			sayNotices(cmd.ErrOrStderr(), c.Notices())
			report := newUpReport(c, drift)
			if err := ui.Write(cmd.OutOrStdout(), r.format, report, report.table); err != nil {
				return err
			}
			if len(drift) > 0 {
				return errDiffers
			}
			return nil
		}),
	}
}

// sayNotices tells what differs from nothing declared, and is worth knowing; what is bad by intention in red.
func sayNotices(w io.Writer, notices []phase.Notice) {
	for _, n := range notices {
		text := n.Text
		if n.Bad {
			text = ui.Mark(w, false, text)
		}
		fmt.Fprintln(w, text)
	}
}

// newUpReport has a list of differences even if it is empty: null is not what a script expects.
func newUpReport(c *phase.Cluster, drift []phase.Drift) upReport {
	return upReport{Cluster: c.Spec.Metadata.Name, Differences: append([]phase.Drift{}, drift...)}
}

func (u upReport) table(w io.Writer) error {
	if len(u.Differences) == 0 {
		_, err := fmt.Fprintln(w, "nothing to change")
		return err
	}
	var rows [][]string
	for _, d := range u.Differences {
		rows = append(rows, []string{d.Phase, d.Object, d.Cause, d.Action})
	}
	return ui.Rows(w, []string{"PHASE", "WHERE", "WHAT DIFFERS", "UP WOULD"}, rows)
}

func downCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything that was made for it",
		Long: `Remove the machines, their disks and network, and all that is kept of the cluster here, the keys of its Vault among
it. There is no way back, and no question is asked. If it was interrupted, run it again.`,
		Example: "  ashlar down -f staging.yaml",
		Args:    noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			return phase.Down(ctx, c, ui.NewProgress(cmd.ErrOrStderr()))
		}),
	}
}
