package phase

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// whileAway says when it will hurt that Vault is away, by the certificates on the machines' disks; nothing if there are none.
func (c *Cluster) whileAway(ctx context.Context, now time.Time) (string, error) {
	leaves, err := c.leavesOnDisks(ctx)
	if err != nil {
		return "", err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return "", err
	}
	units := map[string][]unit.Unit{}
	for _, m := range machines {
		units[m.Name] = unit.For(c.desiredFor(m.Name, machines, trust{}))
	}
	return firstExpiry(leaves, units, now), nil
}

// firstExpiry names the first certificate that a unit will miss, and those that have expired already. What only Vault itself
// listens with hurts nobody while it is away.
func firstExpiry(leaves []diskLeaf, units map[string][]unit.Unit, now time.Time) string {
	leaves = slices.DeleteFunc(slices.Clone(leaves), func(l diskLeaf) bool { return l.CA == unit.CAVault || userOf(l, units) == "" })
	if len(leaves) == 0 {
		return ""
	}
	slices.SortStableFunc(leaves, func(a, b diskLeaf) int { return a.NotAfter.Compare(b.NotAfter) })
	expired := slices.IndexFunc(leaves, func(l diskLeaf) bool { return now.Before(l.NotAfter) })
	if expired < 0 {
		expired = len(leaves)
	}
	what := func(l diskLeaf) string {
		return fmt.Sprintf("%s (%s %s)", l.NotAfter.UTC().Format("2006-01-02 15:04 MST"), l.Machine, userOf(l, units))
	}
	switch expired {
	case 0:
		return "certificates expire from " + what(leaves[0]) + " unless Vault returns"
	case len(leaves):
		return "every certificate has expired, the last at " + what(leaves[expired-1]) + ": Vault has to return"
	}
	return fmt.Sprintf("%d of %d certificates have expired since %s, the next does at %s unless Vault returns", expired, len(leaves), what(leaves[0]), what(leaves[expired]))
}

// userOf is the first unit that uses a certificate.
func userOf(l diskLeaf, units map[string][]unit.Unit) string {
	for _, u := range units[l.Machine] {
		for _, c := range u.Certificates {
			if c.Profile.CA == l.CA && c.Profile.Name == l.Name {
				return u.Name
			}
		}
	}
	return ""
}
