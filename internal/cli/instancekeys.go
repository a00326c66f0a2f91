package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/identity"
	"ashlar.dev/ashlar/internal/unit"
)

// instanceKeysCommand is what the sshd of a cloud's bastion asks.
func instanceKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:    unit.InstanceKeys + " user",
		Short:  "Print the SSH keys that AWS lets somebody in by, for a minute",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := identity.Keys(cmd.Context(), agent.MetadataService(), args[0], time.Now())
			for _, k := range keys {
				fmt.Fprintln(cmd.OutOrStdout(), k)
			}
			return err
		},
	}
}
