package phase

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/vault"
)

// RotateOptions say how a rotation goes on.
type RotateOptions struct {
	// Settle, if it is set, replaces how long a stage lasts for the sake of those that confirm nothing.
	Settle *time.Duration
}

// Rotate replaces the keys of targets, one after another. Whoever continues it later, after whatever end, need not know
// more than the journal says.
func Rotate(ctx context.Context, c *Cluster, targets []rotation.Target, o RotateOptions, progress *ui.Progress) error {
	targets, err := c.rotatable(targets)
	if err != nil {
		return err
	}
	if err := c.journalise(ctx, func(j rotation.Journal) (rotation.Journal, error) { return j.Enqueue(targets) }); err != nil {
		return err
	}
	return ContinueRotation(ctx, c, o, progress)
}

// AbortRotation takes the rotation under way back, and gives up those after it.
func AbortRotation(ctx context.Context, c *Cluster, o RotateOptions, progress *ui.Progress) error {
	if err := c.journalise(ctx, rotation.Journal.Abort); err != nil {
		return err
	}
	return ContinueRotation(ctx, c, o, progress)
}

// ContinueRotation does what the journal says is to be done, until nothing is, and the nodes whose kubelets began anew are Ready.
func ContinueRotation(ctx context.Context, c *Cluster, o RotateOptions, progress *ui.Progress) error {
	if err := continueRotation(ctx, c, o, progress); err != nil {
		return err
	}
	for deadline := time.Now().Add(readyAgain); ; {
		drift, err := observeNodes(ctx, c)
		if err != nil || len(drift) == 0 || time.Now().After(deadline) {
			return err // what else keeps a node from it is for `up` to name
		}
		progress.Detail("%s: %s", drift[0].Object, drift[0].Cause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
}

// readyAgain is how long nodes may take once their kubelets run.
const readyAgain = 30 * time.Second

func continueRotation(ctx context.Context, c *Cluster, o RotateOptions, progress *ui.Progress) error {
	unlock, err := c.lockRotation()
	if err != nil {
		return err
	}
	defer unlock()
	for {
		c.forgetTrust()
		t, err := c.trust(ctx)
		if err != nil {
			return err
		}
		switch r := t.journal.Current; {
		case !t.journal.Open():
			return nil
		case r == nil:
			err = c.beginRotation(ctx, t)
		default:
			err = c.rotateStage(ctx, t.journal, o, progress)
		}
		if err != nil {
			return err
		}
	}
}

// Rotation returns what is being rotated.
func Rotation(ctx context.Context, c *Cluster) (rotation.Journal, error) {
	c.forgetTrust()
	t, err := c.trust(ctx)
	return t.journal, err
}

// beginRotation names the old and the new keys of the queue's first targets.
func (c *Cluster) beginRotation(ctx context.Context, t trust) error {
	var keys []rotation.Keys
	for _, target := range t.journal.Next() {
		old, next, err := c.nameKeys(ctx, target, t)
		if err != nil {
			return err
		}
		keys = append(keys, rotation.Keys{Target: target, Old: old, New: next})
	}
	return c.journalise(ctx, func(j rotation.Journal) (rotation.Journal, error) { return j.Begin(keys, time.Now().UTC()) })
}

// rotateStage brings every machine to the present stage, waits as long as it must last, and goes to the next.
func (c *Cluster) rotateStage(ctx context.Context, j rotation.Journal, o RotateOptions, progress *ui.Progress) error {
	began, what, names := time.Now(), string(j.Current.Target)+" "+string(j.Current.Stage), ""
	if others := len(j.With); others > 0 {
		what = fmt.Sprintf("%s of %d", j.Current.Stage, 1+others)
		names = rotation.Join(j.Targets())
	}
	if j.Current.Back {
		what += " (back)"
	}
	err := c.holdStage(ctx, j, o, what, progress)
	progress.Step(err == nil, what, time.Since(began), names)
	if err != nil {
		return fmt.Errorf("%s: %w; `ashlar pki rotate --resume` goes on from here", what, err)
	}
	return c.journalise(ctx, rotation.Journal.Advance)
}

func (c *Cluster) holdStage(ctx context.Context, j rotation.Journal, o RotateOptions, what string, progress *ui.Progress) error {
	all := j.UnderWay()
	confirmed := j.Current.Confirmed
	if confirmed == nil {
		for _, r := range all {
			if err := c.prepareStage(ctx, r); err != nil {
				return err
			}
		}
		if err := c.tellMachines(ctx, what, progress); err != nil {
			return err
		}
		for _, r := range all {
			if err := c.completeStage(ctx, r, progress); err != nil {
				return err
			}
		}
		now := time.Now().UTC()
		confirmed = &now
		if err := c.journalise(ctx, func(j rotation.Journal) (rotation.Journal, error) { return j.Confirm(now) }); err != nil {
			return err
		}
	}
	if err := c.settleStage(ctx, all, *confirmed, o, what, progress); err != nil {
		return err
	}
	for _, r := range all {
		if err := c.leaveStage(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// settleStage waits for those that confirm nothing: pods, people, and what they hold.
func (c *Cluster) settleStage(ctx context.Context, all []rotation.Rotation, confirmed time.Time, o RotateOptions, what string, progress *ui.Progress) error {
	var wait time.Duration
	for _, r := range all {
		wait = max(wait, r.Target.Settle(r.Stage, c.lifetimes()))
	}
	if o.Settle != nil {
		wait = min(wait, *o.Settle)
	}
	if all[0].Back {
		wait = min(wait, podsBack)
	}
	until := confirmed.Add(wait)
	if left := time.Until(until); left > 0 {
		progress.Detail("%s: until %s, for those who see it late", what, until.Local().Format(time.TimeOnly))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
	}
	return nil
}

// podsBack is how long a stage lasts on the way back, at most.
const podsBack = 7 * time.Minute

func (c *Cluster) lifetimes() rotation.Lifetimes {
	return rotation.Lifetimes{Admin: c.Spec.Spec.PKI.AdminTTL.Duration, Token: time.Hour + time.Minute,
		SSH: vault.SSHTTL + time.Minute}
}

// journalise replaces the journal by what change makes of it, unless somebody else did in between.
func (c *Cluster) journalise(ctx context.Context, change func(rotation.Journal) (rotation.Journal, error)) error {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	var j rotation.Journal
	version, err := v.ReadRotation(ctx, &j)
	if err != nil {
		return err
	}
	if j, err = change(j); err != nil {
		return InputError{fmt.Errorf("rotate: %w%s", err, underWay(j))}
	}
	c.forgetTrust()
	if _, err = v.WriteRotation(ctx, version, j); errors.Is(err, vault.ErrConflict) {
		return fmt.Errorf("somebody else is rotating at the same time: %w", err)
	}
	return err
}

// underWay says what is to be done about an open rotation.
func underWay(j rotation.Journal) string {
	if j.Current == nil {
		return ""
	}
	return fmt.Sprintf(": %s stands at %s; `ashlar pki rotate --resume` finishes it, `--abort` takes it back", rotation.Join(j.Targets()), j.Current.Stage)
}

// lockRotation keeps a second operator of this machine out. One that was killed leaves no lock.
func (c *Cluster) lockRotation() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, "rotation.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the rotation: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errors.New("a rotation of this cluster is under way in another process: let it go on, or end it and run `ashlar pki rotate --resume`")
	}
	return func() { _ = f.Close() }, nil
}

// noRotation keeps rotations from beginning while machines are told what else to be, and makes sure that none has.
func (c *Cluster) noRotation(ctx context.Context) (unlock func(), err error) {
	if unlock, err = c.lockRotation(); err != nil {
		return nil, err
	}
	j, err := Rotation(ctx, c)
	if err == nil && j.Open() {
		err = errors.New("a rotation was begun meanwhile: run `ashlar up` again, which finishes it first")
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// observeRotation is the phase of `up` and `plan`: what was begun is to be finished before machines are told anything else.
func observeRotation(ctx context.Context, c *Cluster) ([]Drift, error) {
	j, err := Rotation(ctx, c)
	if err != nil || !j.Open() {
		return nil, err
	}
	d := Drift{Object: "rotation", Cause: "it was begun and not finished", Action: "finish it", hides: true}
	if r := j.Current; r != nil {
		d.Object, d.Cause = rotation.Join(j.Targets()), fmt.Sprintf("its rotation stands at %s", r.Stage)
		if r.Back {
			d.Cause, d.Action = fmt.Sprintf("its rotation was aborted and stands at %s", r.Stage), "take it back"
		}
	}
	return []Drift{d}, nil
}

func applyRotation(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	return continueRotation(ctx, c, RotateOptions{}, progress) // nodes have their turn after it
}
