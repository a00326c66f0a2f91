package cli

import (
	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/unit"
)

// reserveCommand runs on workers before their kubelet, not for people.
func reserveCommand() *cobra.Command {
	return &cobra.Command{
		Use:    unit.ReserveCommand,
		Short:  "Tell the kubelet what a machine of this size keeps for itself",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			size, err := agent.MachineSize("/var/lib/kubelet")
			if err != nil {
				return err
			}
			return agent.WriteReserve(size)
		},
	}
}
