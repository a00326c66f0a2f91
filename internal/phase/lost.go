package phase

import (
	"context"
	"fmt"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/vault"
)

// lost names the declared machines that are gone and that the machines which are left knew: they come back as members, which a
// machine that was never there must not.
func (c *Cluster) lost(ctx context.Context) (map[string]bool, error) {
	have, err := c.Provider.List(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, h := range have {
		boot, err := c.knownBoot(ctx, h)
		if err != nil {
			return nil, err
		}
		for _, m := range boot.Desired.Machines {
			out[m.Name] = !slices.ContainsFunc(have, func(h provider.Machine) bool { return h.Name == m.Name && h.State != provider.Absent })
		}
	}
	return out, nil
}

// lostMembers counts them by role.
func (c *Cluster) lostMembers(ctx context.Context) (map[v1alpha1.Role]int, error) {
	lost, err := c.lost(ctx)
	out := map[v1alpha1.Role]int{}
	for _, m := range c.Spec.Machines() {
		if lost[m.Name] {
			out[m.Role]++
		}
	}
	return out, err
}

// membership refuses another number of members than there were, and to go on with fewer than know what they held.
func membership(role v1alpha1.Role, left, lost, declared int) error {
	switch {
	case left+lost != declared:
		return InputError{fmt.Errorf("spec.pools: the cluster has %d %s machines, the file says %d: their number is decided when a cluster is created", left+lost, role, declared)}
	case lost > 0 && 2*left <= declared:
		return fmt.Errorf("%d of %d %s machines are gone, with what they held, and no majority is left: `ashlar restore` makes them anew from a backup", lost, declared, role)
	}
	return nil
}

// initialisedFirst waits until all of Vault's machines listen, and puts one to the front that knows the cluster's Vault: any
// of them may have lost its disk.
func (c *Cluster) initialisedFirst(ctx context.Context, machines []provider.Machine) ([]provider.Machine, error) {
	for i, m := range machines {
		client, err := c.listening(ctx, m)
		if err != nil {
			return nil, err
		}
		s, err := client.Status(ctx)
		client.Close()
		if err != nil {
			return nil, err
		}
		if s.Initialized {
			rest := slices.Delete(slices.Clone(machines), i, i+1)
			return append([]provider.Machine{m}, rest...), nil
		}
	}
	return machines, nil
}

// forgetLost has Vault's raft forget a member that is empty though it once was one: it joins anew under the same name.
func (c *Cluster) forgetLost(ctx context.Context, empty *vault.Client, name string, keys vault.Keys) error {
	s, err := empty.Status(ctx)
	if err != nil || s.Initialized || c.vaultCA() == "" {
		return err // or there never were others
	}
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(machines, func(m provider.Machine) bool { return m.Name == name || !c.holdsVault(ctx, m) })
	client, err := c.vaultClient(ctx, others...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.WaitActive(ctx); err != nil {
		return err
	}
	return client.WithRoot(ctx, keys, func(root *vault.Client) error { return root.RemovePeer(ctx, name) })
}
