package cli

import "github.com/spf13/cobra"

// hogCommand takes what it can get of a machine.
func hogCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hog", Short: "Take as much as there is of something"}
	cmd.AddCommand(diskCommand(), floodCommand())
	return cmd
}
