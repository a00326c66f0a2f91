package phase

import (
	"context"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/vault"
)

// vaultLayout is what Vault shall hold.
func (c *Cluster) vaultLayout(ctx context.Context, v *vault.Client) (vault.State, error) {
	in, err := c.layoutInput(ctx, v)
	if err != nil {
		return vault.State{}, err
	}
	return vault.Layout(in), nil
}

// layoutInput is what that depends on.
func (c *Cluster) layoutInput(ctx context.Context, v *vault.Client) (vault.Input, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return vault.Input{}, err
	}
	revoked, _, err := v.Revoked(ctx)
	if err != nil {
		return vault.Input{}, err
	}
	var journal rotation.Journal
	if _, err := v.ReadRotation(ctx, &journal); err != nil {
		return vault.Input{}, err
	}
	d := c.desiredFor("", machines, trust{})
	cloud, err := c.vaultCloud(ctx)
	if err != nil {
		return vault.Input{}, err
	}
	pki := c.Spec.Spec.PKI
	return vault.Input{
		Cluster: d.Cluster, ID: c.ID, Machines: c.named(machines), AWS: cloud,
		LeafTTL: pki.LeafTTL.Duration, CATTL: pki.CATTL.Duration, InitTokenTTL: pki.InitTokenTTL.Duration, AdminTTL: pki.AdminTTL.Duration,
		Robots:          c.Spec.Spec.Authentication.Robots,
		Revoked:         revoked,
		SSH:             c.Spec.Spec.SSH,
		SSHEngines:      mountedSSH(journal),
		Provider:        c.Spec.Spec.Authentication.IdentityProvider,
		OperatorAddress: c.operatorAddress(machines), ServiceIP: d.KubernetesServiceIP(),
	}, nil
}
