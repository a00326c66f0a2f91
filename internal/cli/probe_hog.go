package cli

import "github.com/spf13/cobra"

// hogCommand takes what it can get of a machine. It is for pods: only what limits them ends it.
func hogCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hog", Short: "Take as much as there is of something"}
	cmd.AddCommand(forkCommand(), memoryCommand(), cpuCommand())
	return cmd
}
