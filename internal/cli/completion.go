package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/ui"
)

func completionCommand() *cobra.Command {
	shells := []cobra.Completion{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print what makes a shell complete commands, flags and names",
		Long: `Print a script that makes a shell complete commands, flags, and the names of machines and claims. Names of machines
are those of the cluster's file; completing them does not touch the cluster. Bash needs the package bash-completion.`,
		Example:   "  source <(ashlar completion bash)",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(out, true)
			case "fish":
				return cmd.Root().GenFishCompletion(out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(out)
			}
			return fmt.Errorf("there is no completion for %s", args[0])
		},
	}
}

// completeFlags says what the flags of all commands may be. Where nothing is known, files of this host are no help.
func completeFlags(cmd *cobra.Command) {
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	formats := []cobra.Completion{string(ui.Table), string(ui.JSON), string(ui.YAML)}
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.MarkPersistentFlagFilename("file", "yaml", "yml"))
	must(cmd.MarkPersistentFlagDirname("bundle"))
	must(cmd.MarkPersistentFlagDirname("state"))
}

// machineNames completes a first argument from the cluster's file.
func (r *root) machineNames(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	spec, err := r.read()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, m := range spec.Machines() {
		names = append(names, m.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// claimIDs completes --claim, and says what each claim promises.
func claimIDs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, c := range claim.All() {
		out = append(out, cobra.CompletionWithDesc(c.ID, c.Holds))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// must is for flags that are not where this package says: it cannot happen once a test has built the commands.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
