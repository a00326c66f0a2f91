package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
)

func execCommand(r *root) *cobra.Command {
	var tty bool
	cmd := &cobra.Command{
		Use:   "exec [flags] MACHINE -- COMMAND",
		Short: "Run a command on a machine",
		Long: `Run a command on a machine, as root.

Exits with the command's own code; if a signal ended it, with 128 and the signal's number. What goes wrong before the
command runs has Ashlar's codes, and a message that begins with "ashlar:".`,
		Example: `  ashlar exec worker-0 -- nft list ruleset
  ashlar exec -t control-plane-0 -- bash`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: r.machineNames,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			return ran(c.Provider.Exec(ctx, args[0], provider.Exec{
				Args: args[1:], TTY: tty, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()}))
		}),
	}
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "with a terminal")
	return cmd
}

func logsCommand(r *root) *cobra.Command {
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [flags] MACHINE [UNIT]",
		Short: "Print what a unit of a machine has written",
		Long:  "Print the last lines that a unit of a machine has written; without UNIT, those of the machine's agent.",
		Example: `  ashlar logs control-plane-0 kube-apiserver --lines 20
  ashlar logs worker-0 --follow`,
		Args:              cobra.MatchAll(cobra.RangeArgs(1, 2), unitIsAName),
		ValidArgsFunction: r.machineNames,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			name := "agent"
			if len(args) == 2 {
				name = args[1]
			}
			path := "/var/log/ashlar/" + name + ".log"
			if _, err := c.Provider.Read(ctx, args[0], path); err != nil {
				return fmt.Errorf("machine %s has no log of %s: `ashlar status` lists machines and units", args[0], name)
			}
			tail := []string{"tail", fmt.Sprintf("--lines=%d", lines)}
			if follow {
				tail = append(tail, "--follow=name")
			}
			err := c.Provider.Exec(ctx, args[0], provider.Exec{
				Args: append(tail, path), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()})
			if follow && ctx.Err() != nil {
				return nil // the user has seen enough
			}
			return err
		}),
	}
	cmd.Flags().IntVar(&lines, "lines", 100, "how many of the last lines")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on printing until interrupted")
	return cmd
}

// unitIsAName keeps a unit from being a path to another file.
func unitIsAName(_ *cobra.Command, args []string) error {
	if len(args) == 2 && (args[1] == "" || filepath.Base(args[1]) != args[1]) {
		return fmt.Errorf("%q is no unit", args[1])
	}
	return nil
}
