package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/contain"
)

// insideCommand is what `isolation explain` runs on machines.
func insideCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inside CONTAINER...",
		Short: "Say, as JSON, what this machine's kernel enforces on containers, by their ids",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := contain.Read(cmd.Context(), args)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(m)
		},
	}
}
