package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/ui"
)

// rotateFlags are what `pki rotate` is asked to do, and how.
type rotateFlags struct {
	plan, resume, abort, now bool
	settle                   time.Duration
}

// rotateReport is a rotation as data.
type rotateReport struct {
	Cluster string               `json:"cluster"`
	Journal rotation.Journal     `json:"journal"`
	Plan    []phase.RotationStep `json:"plan,omitempty"`
}

func pkiRotateCommand(r *root) *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate [NAME… | all]",
		Short: "Replace CAs and keys without anybody being refused",
		Long: `Replace CAs and keys: first both are trusted, then the new one signs, then the old one is dropped. Each step waits
until every machine has confirmed it, and is written down in Vault before it is done: whatever ends in between, --resume
goes on, and so does up. Until the old one is dropped, --abort takes it all back.

The names are
` + targetNames() + `;
all is every one of them. Those that are named together go through the steps together, and what has to restart does so once for
all; those that pods and people have to be waited for with come after the others.

Pods, and people, hold what nobody can replace for them. For their sake a step may last longer (--plan says how long);
--settle limits that, and --now does away with it. Where only one machine has a role, its restart interrupts what it does;
--plan names it.

With --plan it exits with 2 if there is something to do.`,
		Example: `  ashlar pki rotate all --plan
  ashlar pki rotate etcd-k8s
  ashlar pki rotate --resume
  ashlar pki rotate --abort`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return append(strings.Split(targetNames(), ", "), rotation.All), cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			if !c.Exists() {
				return phase.InputError{Err: errors.New("there is no such cluster yet: run `ashlar up`")}
			}
			targets, err := rotation.ParseTargets(args)
			if err != nil {
				return phase.InputError{Err: err}
			}
			if f.plan {
				return r.rotatePlan(ctx, cmd, c, targets, f.options())
			}
			progress := ui.NewProgress(cmd.ErrOrStderr(), "serviceaccount-key prepare")
			progress.Begin("rotate")
			switch {
			case f.abort:
				err = phase.AbortRotation(ctx, c, f.options(), progress)
			case f.resume:
				err = phase.ContinueRotation(ctx, c, f.options(), progress)
			default:
				err = phase.Rotate(ctx, c, targets, f.options(), progress)
			}
			progress.Detail("")
			progress.End(err)
			if err != nil {
				return err
			}
			j, err := phase.Rotation(ctx, c)
			if err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, rotateReport{Cluster: c.Spec.Metadata.Name, Journal: j}, func(io.Writer) error { return nil })
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.plan, "plan", false, "say what would be done, and change nothing")
	flags.BoolVar(&f.resume, "resume", false, "go on with what was begun")
	flags.BoolVar(&f.abort, "abort", false, "take back what was begun")
	flags.DurationVar(&f.settle, "settle", -1, "how long a step waits at most for pods and people (default: as long as they take)")
	flags.Lookup("settle").DefValue = "0s" // not said twice
	flags.BoolVar(&f.now, "now", false, "wait for neither: the same as --settle=0s")
	return cmd
}

// check refuses what cannot be meant.
func (f rotateFlags) check(args []string) error {
	if _, err := rotation.ParseTargets(args); err != nil {
		return err
	}
	switch {
	case f.resume && f.abort, f.plan && f.abort:
		return errors.New("--abort goes with neither --resume nor --plan")
	case (f.resume || f.abort) && len(args) > 0:
		return errors.New("what is resumed or aborted is what was begun: name nothing")
	case !f.resume && !f.abort && len(args) == 0:
		return fmt.Errorf("name what to rotate: %s, or %s", targetNames(), rotation.All)
	}
	return nil
}

func (f rotateFlags) options() phase.RotateOptions {
	var o phase.RotateOptions
	if f.now {
		f.settle = 0
	}
	if f.settle >= 0 {
		o.Settle = &f.settle
	}
	return o
}

func targetNames() string {
	return rotation.Join(rotation.Targets)
}

// rotatePlan says what is under way, or what would be done.
func (r *root) rotatePlan(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, targets []rotation.Target, o phase.RotateOptions) error {
	j, err := phase.Rotation(ctx, c)
	if err != nil {
		return err
	}
	report := rotateReport{Cluster: c.Spec.Metadata.Name, Journal: j}
	if report.Plan, err = phase.PlanRotation(ctx, c, targets, o); err != nil {
		return err
	}
	if err := ui.Write(cmd.OutOrStdout(), r.format, report, report.table); err != nil {
		return err
	}
	if j.Open() || len(report.Plan) > 0 {
		return errDiffers
	}
	return nil
}

func (r rotateReport) table(w io.Writer) error {
	if c := r.Journal.Current; c != nil {
		if _, err := fmt.Fprintf(w, "%s stands at %s: --resume finishes it, --abort takes it back\n\n", rotation.Join(r.Journal.Targets()), c.Stage); err != nil {
			return err
		}
	}
	var rows [][]string
	interrupted := map[string]bool{}
	for _, s := range r.Plan {
		var turns []string
		for _, t := range s.Turns {
			turns = append(turns, strings.Join(t, "+"))
		}
		for _, m := range s.Interrupts {
			interrupted[m] = true
		}
		restarts, settle := "-", "-"
		if len(turns) > 0 {
			restarts = strings.Join(turns, ", then ")
		}
		if s.SettleSeconds > 0 {
			settle = (time.Duration(s.SettleSeconds) * time.Second).String()
		}
		for i, t := range s.Targets {
			if i > 0 { // with the one above
				restarts, settle = "", ""
			}
			rows = append(rows, []string{string(t), string(s.Stage), s.Does[i], restarts, settle})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := ui.Rows(w, []string{"TARGET", "STEP", "WHAT", "RESTARTS ON", "THEN WAITS"}, rows); err != nil {
		return err
	}
	for _, m := range slices.Sorted(maps.Keys(interrupted)) {
		if _, err := fmt.Fprintf(w, "\nNo other machine has the role of %s: what it does is interrupted while it restarts.\n", m); err != nil {
			return err
		}
	}
	return nil
}
