package cli

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/shortcut"
	"ashlar.dev/ashlar/internal/statussocket"
	"ashlar.dev/ashlar/internal/unit"
)

func shortcutCommand() *cobra.Command {
	var pods string
	var status bool
	cmd := &cobra.Command{
		Use:    "shortcut",
		Short:  "Take packets of settled connections between pods past this machine's rules",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status {
				if err := statussocket.Ask(cmd.Context(), unit.ShortcutSocket, cmd.OutOrStdout()); err != nil {
					return fmt.Errorf("the shortcut does not run here: %w", err)
				}
				return nil
			}
			within, err := netip.ParsePrefix(pods)
			if err != nil {
				return fmt.Errorf("--pods: %w", err)
			}
			return shortcut.Run(cmd.Context(), within, unit.PortVXLAN, unit.ShortcutSocket, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	cmd.Flags().StringVar(&pods, "pods", "", "the addresses of all pods, as a CIDR")
	cmd.Flags().BoolVar(&status, "status", false, "say, as JSON, what the one that runs does, and how many packets went which way and why")
	return cmd
}
