package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/sshend"
	"ashlar.dev/ashlar/internal/unit"
)

func sshEndCommand() *cobra.Command {
	var ids []string
	cmd := &cobra.Command{
		Use:    "ssh-end",
		Short:  "End the connections of those who were revoked",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var parts []io.Reader
			for _, path := range []string{unit.SSHLog + ".1", unit.SSHLog} { // the older part first
				f, err := os.Open(path)
				if os.IsNotExist(err) {
					continue
				}
				if err != nil {
					return err
				}
				defer f.Close()
				parts = append(parts, f)
			}
			// Before the log: who comes in between is in it.
			open, err := sshend.Open(cmd.Context(), unit.PortSSH)
			if err != nil {
				return err
			}
			who, err := sshend.Who(io.MultiReader(parts...))
			if err != nil {
				return fmt.Errorf("read who is connected from %s: %w", unit.SSHLog, err)
			}
			return sshend.End(cmd.Context(), unit.PortSSH, sshend.Doomed(open, who, ids))
		},
	}
	cmd.Flags().StringArrayVar(&ids, "id", nil, "what certificates call somebody")
	return cmd
}
