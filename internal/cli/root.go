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

// Exit codes, the same for every command.
const (
	ExitDone    = 0
	ExitFailed  = 1
	ExitDiffers = 2
	ExitInput   = 64 // EX_USAGE of sysexits.h
)

// errDiffers makes a command that compares exit with 2; it has said what differs already.
var errDiffers = errors.New("differs")

// inputError is the user's to mend.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

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
	err := cmd.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errDiffers) {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			fmt.Fprintf(stderr, "ashlar: %v\n", err)
		}
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	var input inputError
	var refused phase.InputError
	var invalid v1alpha1.Errors
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, errDiffers):
		return ExitDiffers
	case errors.As(err, &input), errors.As(err, &refused), errors.As(err, &invalid):
		return ExitInput
	case errors.As(err, &exit):
		return exit.ExitCode() // of what was run for the user
	default:
		return ExitFailed
	}
}

// New builds the command tree.
func New() *cobra.Command {
	r := &root{format: ui.Table}
	cmd := &cobra.Command{
		Use:   "ashlar",
		Short: "Builds hardened Kubernetes clusters from one file, and proves that they are hardened",
		Long: `Ashlar builds hardened Kubernetes clusters from one file, and proves that they are hardened.

Exit codes: 0 done, 1 failed, 2 differs (plan, verify), 64 bad input.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return inputError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
	})
	flags := cmd.PersistentFlags()
	flags.StringVarP(&r.file, "file", "f", "cluster.yaml", "the cluster's file")
	flags.VarP(&r.format, "output", "o", "how to answer")
	flags.StringVar(&r.options.Bundle, "bundle", "", "directory of the software bundle (default: the newest built)")
	flags.StringVar(&r.options.Root, "state", phase.DefaultRoot, "directory of what belongs to clusters")
	cmd.AddCommand(
		initCommand(r), planCommand(r), upCommand(r), statusCommand(r), verifyCommand(r), downCommand(r),
		kubeconfigCommand(r), kubectlCommand(r), execCommand(r), logsCommand(r), bundleCommand(r),
		agentCommand(), kmsCommand(), etcdAuthCommand(), probeCommand(),
	)
	return cmd
}

// cluster reads the file and opens what there is of the cluster.
func (r *root) cluster() (*phase.Cluster, error) {
	spec, err := r.read()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, inputError{errors.New("ashlar makes namespaces and containers: run it as root, or with sudo")}
	}
	return phase.Open(spec, r.options)
}

func (r *root) read() (*v1alpha1.Cluster, error) {
	b, err := os.ReadFile(r.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, inputError{fmt.Errorf("there is no %s: write one with `ashlar init`, or name it with -f", r.file)}
	}
	if err != nil {
		return nil, inputError{err}
	}
	return v1alpha1.Decode(b, r.file)
}
