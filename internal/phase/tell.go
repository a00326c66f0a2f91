package phase

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// write puts what was revoked into the documents of running machines, and returns those whose document changed. The rest of a
// document stays: to revoke is not to change the cluster.
func (c *Cluster) write(ctx context.Context, r unit.Revoked) ([]enrolled, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	told := make([][]enrolled, len(machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range machines {
		if _, out := r.Machine(m.Name); out || m.State == provider.Absent {
			continue
		}
		g.Go(func() error {
			for {
				e, changed, err := c.writeOne(ctx, m, r)
				if errors.Is(err, vault.ErrConflict) && ctx.Err() == nil {
					continue
				}
				if changed && m.State == provider.Running {
					told[i] = []enrolled{e}
				}
				return err
			}
		})
	}
	err = g.Wait()
	return slices.Concat(told...), err
}

func (c *Cluster) writeOne(ctx context.Context, m provider.Machine, r unit.Revoked) (e enrolled, changed bool, err error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return e, false, err
	}
	e.machine = m
	if e.version, err = v.ReadDocument(ctx, m.Name, vault.Desired, &e.want); err != nil || e.version == 0 {
		return e, false, err
	}
	want := r.For(m.Role, m.Name)
	if reflect.DeepEqual(e.want.Revoked, want) {
		return e, false, nil
	}
	e.want.Revoked = want
	if e.version, err = v.WriteDocument(ctx, m.Name, vault.Desired, e.version, e.want); err != nil {
		return e, false, err
	}
	if e.boot, err = c.readBoot(ctx, m.Name); err != nil {
		return e, false, err
	}
	// Where its disk can be reached the machine need not find out by asking.
	return e, true, c.introduce(ctx, e, false)
}
