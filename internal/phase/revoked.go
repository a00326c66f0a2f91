package phase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// revoked reads what was revoked.
func (c *Cluster) revoked(ctx context.Context) (unit.Revoked, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return unit.Revoked{}, err
	}
	r, _, err := v.Revoked(ctx)
	return r, err
}

// changeRevoked changes the list of what was revoked, and drops from it what has ended by itself. Whoever else changes it at the
// same time is not overwritten.
func (c *Cluster) changeRevoked(ctx context.Context, now time.Time, change func(*unit.Revoked)) (unit.Revoked, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return unit.Revoked{}, err
	}
	for {
		r, version, err := v.Revoked(ctx)
		if err != nil {
			return r, err
		}
		change(&r)
		r.Credentials = slices.DeleteFunc(r.Credentials, func(c unit.Revocation) bool { return !now.Before(c.Until) })
		if err = v.WriteRevoked(ctx, version, r); err == nil {
			return r, c.remember(r)
		}
		if !errors.Is(err, vault.ErrConflict) || ctx.Err() != nil {
			return r, err
		}
	}
}

// shut adds a name to those that are shut out, once.
func shut(list []unit.ShutOut, s unit.ShutOut) []unit.ShutOut {
	return append(letIn(list, s.Name), s)
}

// letIn takes a name off those that are shut out.
func letIn(list []unit.ShutOut, name string) []unit.ShutOut {
	return slices.DeleteFunc(list, func(s unit.ShutOut) bool { return s.Name == name })
}

// addRevocations adds what is not listed yet.
func addRevocations(list, more []unit.Revocation) []unit.Revocation {
	same := func(a, b unit.Revocation) bool { return a.CA == b.CA && a.Serial == b.Serial && a.User == b.User }
	for _, r := range more {
		list = append(slices.DeleteFunc(list, func(have unit.Revocation) bool { return same(have, r) }), r)
	}
	return list
}

// inService are the machines of the cluster that were not revoked.
func inService(machines []provider.Machine, r unit.Revoked) []v1alpha1.Machine {
	var in []v1alpha1.Machine
	for _, m := range machines {
		if _, out := r.Machine(m.Name); !out {
			in = append(in, v1alpha1.Machine{Name: m.Name, Role: m.Role})
		}
	}
	return in
}

// heardTimeout is how long machines may take to say that they have heard what was revoked.
const heardTimeout = 10 * time.Second

// Heard is when a machine said that it knows of a revocation.
type Heard struct {
	Machine string  `json:"machine"`
	Seconds float64 `json:"seconds"`
	// Problem is why it did not say so in time.
	Problem string `json:"problem,omitempty"`
}

// tell writes what was revoked into the documents of the machines that are asked, and into nothing else of them, and waits
// until each has said that it knows, and each API server that it goes by it.
func (c *Cluster) tell(ctx context.Context, r unit.Revoked, began time.Time) ([]Heard, error) {
	told, err := c.write(ctx, r)
	if err != nil {
		return nil, err
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	out := make([]Heard, len(told))
	for waiting := len(told); waiting > 0; {
		waiting = 0
		for i, e := range told {
			if out[i].Seconds > 0 {
				continue
			}
			out[i].Machine, out[i].Problem = e.machine.Name, ""
			if out[i].Problem = c.deaf(ctx, v, e); out[i].Problem == "" {
				out[i].Seconds = time.Since(began).Seconds()
			} else {
				waiting++
			}
		}
		if waiting == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("not every machine has said within %s that it knows: the others read it when they can; see `ashlar status`", heardTimeout)
		case <-time.After(look):
		}
	}
	return out, nil
}

// deaf says why a machine does not refuse yet what it was told to.
func (c *Cluster) deaf(ctx context.Context, v *vault.Client, e enrolled) string {
	if _, err := v.ReadDocument(ctx, e.machine.Name, vault.Status, &e.status); err != nil {
		return err.Error()
	}
	if e.status.Desired < e.version {
		return "it has not read it yet"
	}
	for _, u := range unit.For(e.want) {
		if u.Name == unit.Sever && !slices.ContainsFunc(e.status.Units, func(s agent.UnitStatus) bool {
			return s.Name == u.Name && s.Digest == u.Digest() && s.State.Settled()
		}) {
			return "its connections have not ended yet"
		}
	}
	return c.goesBy(ctx, e)
}

// goesBy says why an API server does not decide by its newest policy yet.
func (c *Cluster) goesBy(ctx context.Context, e enrolled) string {
	if e.machine.Role != v1alpha1.RoleControlPlane {
		return ""
	}
	config, err := c.Kube(ctx)
	if err == nil {
		var drift []Drift
		if drift, err = c.stalePolicy(ctx, config, e.machine, e.want); err == nil && len(drift) > 0 {
			return drift[0].Cause
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
