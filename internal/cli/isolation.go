package cli

import "github.com/spf13/cobra"

func isolationCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "isolation",
		Short:   "Say what pods may do to their machine, and what contains them",
		Example: "  ashlar isolation classes\n  ashlar isolation explain web-0 --namespace shop",
	}
	cmd.AddCommand(isolationClassesCommand(r), isolationExplainCommand(r))
	return cmd
}
