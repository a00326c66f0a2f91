package cli

import (
	"fmt"

	"log/slog"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/ceiling"
	"ashlar.dev/ashlar/internal/statussocket"
	"ashlar.dev/ashlar/internal/unit"
)

func ceilingsCommand() *cobra.Command {
	var status bool
	cmd := &cobra.Command{
		Use:    "ceilings",
		Short:  "Hold this machine's pods to the most that their classes let them take of its disk and network",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status {
				if err := statussocket.Ask(cmd.Context(), unit.CeilingsSocket, cmd.OutOrStdout()); err != nil {
					return fmt.Errorf("nothing holds pods to their ceilings here: %w", err)
				}
				return nil
			}
			return ceiling.Run(cmd.Context(), unit.CeilingsFile, unit.CeilingsSocket, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	cmd.Flags().BoolVar(&status, "status", false, "say, as JSON, what the one that runs holds each pod to")
	return cmd
}
