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
	all := machines
	machines = c.agents(machines)
	told := make([][]enrolled, len(machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range machines {
		if _, out := r.Machine(m.Name); out || m.State == provider.Absent {
			continue
		}
		g.Go(func() error {
			for {
				e, changed, err := c.writeOne(ctx, m, revocationsFor(r, m, all))
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

// revocationsFor is what a machine's document says of what was revoked: that of a pool has what any of its members must know.
func revocationsFor(r unit.Revoked, m provider.Machine, all []provider.Machine) []unit.Revocation {
	out := r.For(m.Role, m.Document())
	for _, o := range all {
		if m.Pool != "" && o.Pool == m.Pool {
			out = addRevocations(out, r.For(m.Role, o.Name))
		}
	}
	return out
}

func (c *Cluster) writeOne(ctx context.Context, m provider.Machine, want []unit.Revocation) (e enrolled, changed bool, err error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return e, false, err
	}
	e.machine = m
	if e.version, err = v.ReadDocument(ctx, m.Document(), vault.Desired, &e.want); err != nil || e.version == 0 {
		return e, false, err
	}
	if reflect.DeepEqual(e.want.Revoked, want) {
		e.want = asMember(e.want, m)
		return e, m.Pool != "", nil // another member's turn may have written it for this one, too
	}
	e.want.Revoked = want
	if e.version, err = v.WriteDocument(ctx, m.Document(), vault.Desired, e.version, e.want); err != nil {
		return e, false, err
	}
	e.want = asMember(e.want, m)
	if _, ok := c.cloud(); ok {
		return e, true, nil
	}
	if e.boot, err = c.readBoot(ctx, m.Name); err != nil {
		return e, false, err
	}
	// Where its disk can be reached the machine need not find out by asking.
	return e, true, c.introduce(ctx, e, false)
}

// asMember is a document as the machine reads it.
func asMember(d unit.Desired, m provider.Machine) unit.Desired {
	if m.Pool == "" {
		return d
	}
	return d.As(unit.Machine{Name: m.Name, Role: m.Role, Address: m.Address})
}
