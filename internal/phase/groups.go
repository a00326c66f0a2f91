package phase

import (
	"context"
	"reflect"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// group is what the members of a pool are told, all of them the same.
type group struct {
	pool       string
	want, have unit.Desired
	version    int // of the document; 0 if there is none
}

// groupDocuments reads them; there are none where every machine has a name.
func (c *Cluster) groupDocuments(ctx context.Context) ([]group, error) {
	pools := c.groups()
	if len(pools) == 0 {
		return nil, nil
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	var out []group
	for _, p := range pools {
		g := group{pool: p.Name}
		if g.version, err = v.ReadDocument(ctx, p.Name, vault.Desired, &g.have); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	// Read after the documents: whoever revokes something writes this first.
	revoked, _, err := v.Revoked(ctx)
	for i, p := range pools {
		out[i].want = c.groupDesired(p, machines, trust, revoked)
	}
	return out, err
}

// drift says why a pool has to be told anew.
func (g group) drift() []Drift {
	switch {
	case g.version == 0:
		return []Drift{{Object: g.pool, Cause: "its machines were never told what to be", Action: "write their desired state to Vault"}}
	case !reflect.DeepEqual(g.want, g.have):
		return []Drift{{Object: g.pool, Cause: "the desired state of its machines is " + firstDifference(g.want, g.have), Action: "write it to Vault again"}}
	}
	return nil
}

func (c *Cluster) observeGroups(ctx context.Context) ([]Drift, error) {
	all, err := c.groupDocuments(ctx)
	var drift []Drift
	for _, g := range all {
		drift = append(drift, g.drift()...)
	}
	return drift, err
}

// instructGroups tells each pool what its machines are to be, where that is another than it was.
func (c *Cluster) instructGroups(ctx context.Context) error {
	all, err := c.groupDocuments(ctx)
	if err != nil {
		return err
	}
	for _, g := range all {
		if len(g.drift()) == 0 {
			continue
		}
		v, err := c.operatorVault(ctx)
		if err != nil {
			return err
		}
		if _, err := v.WriteDocument(ctx, g.pool, vault.Desired, g.version, g.want); err != nil {
			return err
		}
	}
	return nil
}
