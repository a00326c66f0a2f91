// Package cli is the commands: flags in, one call, output out.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

// Exit codes, the same for every command; those that run a program for the user exit with its own.
const (
	ExitDone    = 0
	ExitFailed  = 1
	ExitDiffers = 2
	ExitInput   = 64 // EX_USAGE of sysexits.h
)

// errDiffers makes a command that compares exit with 2; it has said what differs already.
var errDiffers = errors.New("differs")

// exited is a program that was run for the user and failed. It has said why itself.
type exited struct{ *exec.ExitError }

// ran marks the end of a program that was run for the user: a program that we ran for ourselves fails like anything else.
func ran(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exited{exit}
	}
	return err
}

// code is the program's exit code; if a signal ended it, 128 and the signal, as in a shell.
func (e exited) code() int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

// root is what every command shares.
type root struct {
	file    string
	format  ui.Format
	options phase.Options
}

// Main runs the command line and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := New()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return conclude(cmd.ExecuteContext(ctx), stderr)
}

// conclude says what went wrong, unless that has been said, and returns the exit code.
func conclude(err error, stderr io.Writer) int {
	var program exited
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, errDiffers):
		return ExitDiffers
	case errors.As(err, &program):
		return program.code()
	}
	fmt.Fprintf(stderr, "ashlar: %v\n", err)
	var input phase.InputError
	var invalid v1alpha1.Errors
	if errors.As(err, &input) || errors.As(err, &invalid) {
		return ExitInput
	}
	return ExitFailed
}

// New builds the command tree.
func New() *cobra.Command {
	r := &root{format: ui.Table}
	cmd := &cobra.Command{
		Use:   "ashlar",
		Short: "Build hardened Kubernetes clusters from one file, and prove that they are hardened",
		Long: `Ashlar builds hardened Kubernetes clusters from one file, and proves that they are hardened.

Exit codes: 0 done, 1 failed, 2 differs (plan, verify, exposure), 64 bad input.
kubectl, exec and ssh exit with the code of what they run.`,
		Example: `  ashlar init --name demo
  ashlar up
  ashlar verify`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&r.file, "file", "f", "cluster.yaml", "the cluster's file")
	flags.VarP(&r.format, "output", "o", "how to answer")
	flags.StringVar(&r.options.Bundle, "bundle", "", "directory of the software bundle (default: the newest built)")
	flags.StringVar(&r.options.Root, "state", phase.DefaultRoot, "directory of what belongs to clusters")
	cmd.AddCommand(
		initCommand(r), planCommand(r), upCommand(r), statusCommand(r), verifyCommand(r), downCommand(r), backupCommand(r), restoreCommand(r),
		kubeconfigCommand(r), kubectlCommand(r), execCommand(r), sshCommand(r), logsCommand(r), loginCommand(r), userCommand(r), tokenCommand(r), pkiCommand(r), breakGlassCommand(r), authzCommand(r), networkCommand(r), isolationCommand(r), exposureCommand(r),
		bundleCommand(r), completionCommand(),
		agentCommand(), kmsCommand(), webhookCommand(), baselineControllerCommand(), etcdAuthCommand(), etcdSnapshotCommand(), etcdMemberCommand(), etcdRestoreCommand(), calicoWaitCommand(), shortcutCommand(), ceilingsCommand(), reserveCommand(), probeCommand(), sshProxyCommand(r), sshEndCommand(), instanceKeysCommand(),
	)
	completeFlags(cmd)
	cmd.SetFlagErrorFunc(misused)
	strict(cmd)
	return cmd
}

// strict makes a mistake in the arguments of a command, and of those below it, the user's to mend.
func strict(cmd *cobra.Command) {
	check := cmd.Args
	if cmd.HasSubCommands() {
		// Without something to run, cobra would print help and exit with 0 whatever the arguments are.
		check, cmd.RunE, cmd.DisableFlagsInUseLine = oneOfItsCommands, help, true
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return misused(cmd, err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// misused says where to read how a command is used.
func misused(cmd *cobra.Command, err error) error {
	return phase.InputError{Err: fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())}
}

func oneOfItsCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q, but there is %s", args[0], near[0])
	}
	return fmt.Errorf("there is no command %q", args[0])
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is an argument too many", args[0])
	}
	return nil
}

// withCluster makes a command of what works on a cluster: it opens what there is of the cluster, and closes it.
func (r *root) withCluster(run func(context.Context, *cobra.Command, *phase.Cluster, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.cluster()
		if err != nil {
			return err
		}
		defer c.Close(cmd.Context())
		return run(cmd.Context(), cmd, c, args)
	}
}

// cluster reads the file and opens what there is of the cluster.
func (r *root) cluster() (*phase.Cluster, error) {
	spec, err := r.read()
	if err != nil {
		return nil, err
	}
	if spec.Spec.Provider.Local != nil && os.Geteuid() != 0 {
		return nil, phase.InputError{Err: errors.New("ashlar makes namespaces and containers: run it as root, or with sudo")}
	}
	return phase.Open(spec, r.options)
}

func (r *root) read() (*v1alpha1.Cluster, error) {
	b, err := os.ReadFile(r.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, phase.InputError{Err: fmt.Errorf("there is no %s: write one with `ashlar init`, or name it with -f", r.file)}
	}
	if err != nil {
		return nil, phase.InputError{Err: err}
	}
	return v1alpha1.Decode(b, r.file)
}
