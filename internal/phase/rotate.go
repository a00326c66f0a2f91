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

// ContinueRotation does what the journal says is to be done, until nothing is.
func ContinueRotation(ctx context.Context, c *Cluster, o RotateOptions, progress *ui.Progress) error {
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
			err = c.rotateStage(ctx, *r, o, progress)
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

// beginRotation names the old and the new key of the queue's first target.
func (c *Cluster) beginRotation(ctx context.Context, t trust) error {
	old, next, err := c.nameKeys(ctx, t.journal.Queue[0], t)
	if err != nil {
		return err
	}
	return c.journalise(ctx, func(j rotation.Journal) (rotation.Journal, error) { return j.Begin(old, next, time.Now().UTC()) })
}

// rotateStage brings every machine to the present stage, waits as long as it must last, and goes to the next.
func (c *Cluster) rotateStage(ctx context.Context, r rotation.Rotation, o RotateOptions, progress *ui.Progress) error {
	began, what := time.Now(), string(r.Target)+" "+string(r.Stage)
	if r.Back {
		what += " (back)"
	}
	err := c.holdStage(ctx, r, o, what, progress)
	progress.Step(err == nil, what, time.Since(began), "")
	if err != nil {
		return fmt.Errorf("%s: %w; `ashlar pki rotate --resume` goes on from here", what, err)
	}
	return c.journalise(ctx, rotation.Journal.Advance)
}

func (c *Cluster) holdStage(ctx context.Context, r rotation.Rotation, o RotateOptions, what string, progress *ui.Progress) error {
	if r.Confirmed == nil {
		if err := c.prepareStage(ctx, r); err != nil {
			return err
		}
		if err := c.tellMachines(ctx, what, progress); err != nil {
			return err
		}
		if err := c.completeStage(ctx, r, progress); err != nil {
			return err
		}
		now := time.Now().UTC()
		r.Confirmed = &now
		if err := c.journalise(ctx, func(j rotation.Journal) (rotation.Journal, error) { return j.Confirm(now) }); err != nil {
			return err
		}
	}
	if err := c.settleStage(ctx, r, o, what, progress); err != nil {
		return err
	}
	return c.leaveStage(ctx, r)
}

// settleStage waits for those that confirm nothing: pods, people, and what they hold.
func (c *Cluster) settleStage(ctx context.Context, r rotation.Rotation, o RotateOptions, what string, progress *ui.Progress) error {
	wait := r.Target.Settle(r.Stage, c.lifetimes())
	if o.Settle != nil {
		wait = min(wait, *o.Settle)
	}
	if r.Back {
		wait = min(wait, podsBack)
	}
	until := r.Confirmed.Add(wait)
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
	return rotation.Lifetimes{Admin: c.Spec.Spec.PKI.AdminTTL.Duration, Token: time.Hour + time.Minute}
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
	return fmt.Sprintf(": %s stands at %s; `ashlar pki rotate --resume` finishes it, `--abort` takes it back", j.Current.Target, j.Current.Stage)
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
		d.Object, d.Cause = string(r.Target), fmt.Sprintf("its rotation stands at %s", r.Stage)
		if r.Back {
			d.Cause, d.Action = fmt.Sprintf("its rotation was aborted and stands at %s", r.Stage), "take it back"
		}
	}
	return []Drift{d}, nil
}

func applyRotation(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	return ContinueRotation(ctx, c, RotateOptions{}, progress)
}
