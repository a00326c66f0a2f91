package phase

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// RestoreOptions say what of a backup is restored.
type RestoreOptions struct {
	Vault, Etcd bool
	// Replace allows to overwrite what there is.
	Replace bool
	// UnsealKeys is a copy of the unseal keys; empty: those of the operator's directory.
	UnsealKeys string
}

// RestoreReport is what a restore came to.
type RestoreReport struct {
	Cluster string    `json:"cluster"`
	Taken   time.Time `json:"taken"`
	Parts   []string  `json:"parts"`
	// Since is what happened after the backup and is undone now, as far as what is left still tells.
	Since []Change `json:"since"`
	// Logged is false if no audit log was left to tell.
	Logged bool `json:"logged"`
	// Stranded is how many certificates were in use that the restored Vault has never heard of. They have been replaced;
	// copies are good until TrustedUntil, unless their CA is replaced.
	Stranded     int        `json:"stranded"`
	TrustedUntil *time.Time `json:"trustedUntil,omitempty"`
}

// restoring is what a restore has the phases do otherwise. It is nil outside of one.
type restoring struct {
	hold        bool      // units that remember etcd must not run
	renewBefore time.Time // certificates from before were signed by a Vault that is lost
}

// mark puts into a machine's boot document what a restore demands of it.
func (r *restoring) mark(b *agent.Boot, role v1alpha1.Role) {
	if r == nil {
		return
	}
	b.Hold, b.Rejoin = nil, false
	if r.hold {
		b.Hold = unit.HeldForRestore(role)
	}
	if !r.renewBefore.IsZero() {
		b.RenewBefore = r.renewBefore
	}
}

// strange says that no machine's token is good any more.
func (r *restoring) strange() bool { return r != nil && !r.renewBefore.IsZero() }

// Restore makes the cluster hold what a backup does, and then as its file says.
func Restore(ctx context.Context, c *Cluster, a *backup.Archive, o RestoreOptions, progress *ui.Progress) (RestoreReport, error) {
	report := RestoreReport{Cluster: a.Manifest.Cluster, Taken: a.Manifest.Time, Since: []Change{}, Logged: true}
	progress.Begin("check")
	keys, err := c.mayRestore(ctx, a, &o)
	if err == nil && o.Vault {
		report.Since, report.Logged, err = c.changesSince(ctx, a.Manifest.Time)
		if err != nil && ctx.Err() == nil {
			// A log that cannot be read is one that is lost: that must not keep anything from coming back.
			progress.Detail("%v", err)
			report.Since, report.Logged, err = []Change{}, false, nil
		}
	}
	progress.End(err)
	if err != nil {
		return report, err
	}
	if err := c.beginRestore(a, o, keys); err != nil {
		return report, err
	}
	since := time.Now() // every certificate shall be newer
	for _, s := range []struct {
		name string
		want bool
		do   func(context.Context) error
	}{
		{"hold units", o.Etcd, func(ctx context.Context) error { return c.holdUnits(ctx) }},
		{"make machines", true, func(ctx context.Context) error { return c.machinesToRestore(ctx, o) }},
		{"restore vault", o.Vault, func(ctx context.Context) error { return c.restoreVault(ctx, a, keys, &report, progress) }},
		{"restore etcd", o.Etcd, func(ctx context.Context) error { return c.restoreEtcd(ctx, a, &report, progress) }},
		{"let units go", true, func(ctx context.Context) error { return c.endRestore(ctx) }},
	} {
		if !s.want {
			continue
		}
		progress.Begin(s.name)
		err := s.do(ctx)
		progress.End(err)
		if err != nil {
			return report, fmt.Errorf("%s: %w; what was begun has to be finished: run `ashlar restore` again", s.name, err)
		}
	}
	if _, err := Up(ctx, c, progress); err != nil {
		return report, err
	}
	// The API servers wrote into etcd whom they trusted at the time, and by themselves only ever add to it.
	if err := c.forgetPublished(ctx); err != nil || report.TrustedUntil == nil {
		return report, err
	}
	progress.Begin("certificates")
	err = c.awaitRenewal(ctx, since, progress)
	progress.End(err)
	return report, err
}

// beginRestore records what is going to happen: from here on there is no way back but to its end.
func (c *Cluster) beginRestore(a *backup.Archive, o RestoreOptions, keys vault.Keys) error {
	if err := os.MkdirAll(filepath.Dir(c.keysFile()), 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(restoreRecord{Vault: o.Vault, Etcd: o.Etcd})
	if err != nil {
		return err
	}
	if err := writeOperatorFile(c.restoreFile(), b); err != nil {
		return err
	}
	if err := keys.Store(c.keysFile()); err != nil {
		return err
	}
	if !c.Exists() {
		if err := writeOperatorFile(c.identityFile(), a.Manifest.Identity); err != nil {
			return err
		}
		c.ID = a.Manifest.ID
	}
	c.restoring = &restoring{hold: o.Etcd}
	return nil
}

// holdUnits has the machines that there are stop what remembers etcd.
func (c *Cluster) holdUnits(ctx context.Context) error {
	machines, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if there, err := c.onDisk(ctx, m, unit.BootFile); err != nil || !there {
			if err != nil {
				return err
			}
			continue
		}
		if err := c.remark(ctx, m.Name, m.Role); err != nil {
			return err
		}
	}
	return nil
}

// endRestore lets the units go, has every machine log in anew if Vault was restored, and takes the record away.
func (c *Cluster) endRestore(ctx context.Context) error {
	c.restoring.hold = false
	machines, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	if c.restoring.strange() {
		if err := c.instructAll(ctx); err != nil {
			return err
		}
	} else {
		for _, m := range machines {
			if err := c.remark(ctx, m.Name, m.Role); err != nil {
				return err
			}
		}
	}
	c.restoring = nil
	return os.Remove(c.restoreFile())
}

func (c *Cluster) remark(ctx context.Context, machine string, role v1alpha1.Role) error {
	b, err := c.readBoot(ctx, machine)
	if err != nil {
		return err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	b.Desired = c.desiredFor(machine, machines, trust{})
	c.restoring.mark(&b, role)
	file, err := c.bootFile(b)
	if err != nil {
		return err
	}
	return c.Provider.Write(ctx, machine, []provider.File{file})
}
