package cli

import (
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
	return &cobra.Command{
		Use:   "up",
		Short: "Create, change or repair the cluster until it is as the file says",
		Long: `Up observes the cluster phase by phase, says what differs, and repairs just that.
It can be interrupted at any time; the next one finishes the work.`,
		Example: "  ashlar up -f cluster.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			progress := ui.NewProgress(cmd.ErrOrStderr())
			drift, err := phase.Up(cmd.Context(), c, progress)
			if err != nil {
				return err
			}
			if len(drift) == 0 {
				progress.Done("nothing to change")
			} else {
				progress.Done("cluster %s is as %s says", c.Spec.Metadata.Name, r.file)
			}
			report := upReport{Cluster: c.Spec.Metadata.Name, Differences: drift, Timings: progress.Timings()}
			return ui.Write(cmd.OutOrStdout(), r.format, report, func(io.Writer) error { return nil })
		},
	}
}

func planCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:     "plan",
		Short:   "Say what `up` would change, and why",
		Example: "  ashlar plan -f cluster.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			drift, err := phase.Plan(cmd.Context(), c)
			if err != nil {
				return err
			}
			report := upReport{Cluster: c.Spec.Metadata.Name, Differences: drift}
			if err := ui.Write(cmd.OutOrStdout(), r.format, report, report.table); err != nil {
				return err
			}
			if len(drift) > 0 {
				return errDiffers
			}
			return nil
		},
	}
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
		Use:     "down",
		Short:   "Remove the cluster and everything that was made for it",
		Example: "  ashlar down -f cluster.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			progress := ui.NewProgress(cmd.ErrOrStderr())
			return phase.Down(cmd.Context(), c, progress)
		},
	}
}
