package phase

import (
	"context"
	"errors"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/observe"
	"ashlar.dev/ashlar/internal/provider"
)

// Target is the cluster as the claims attack it.
func Target(ctx context.Context, c *Cluster) (*claim.Target, error) {
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	revoked, err := c.revoked(ctx)
	if err != nil {
		return nil, err
	}
	// What was revoked is refused, and proves nothing.
	machines = slices.DeleteFunc(machines, func(m provider.Machine) bool { _, out := revoked.Machine(m.Name); return out })
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := c.baselineObjects(ctx)
	if err != nil {
		return nil, err
	}
	t := &claim.Target{
		Spec: c.Spec, Machines: machines, Provider: c.Provider, Bundle: c.Bundle, Vault: v,
		Desired: c.desiredFor("", machines, trust), Admin: admin, Baseline: objects, VaultAt: c.vaultClient, Now: time.Now,
		Network: func(ctx context.Context) (*observe.Network, error) { return Network(ctx, c) },
		Revoke:  c.revokeTaken, Forget: c.forgetTaken, Audit: c.Audit,
	}
	if c.Spec.Spec.Provider.AWS != nil {
		t.Planned = c.Provider.Graph
	}
	return t, nil
}
