package phase

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// publishedCA is what machines of a cloud find in its bucket: nobody can write on their disks before they are in the cluster.
const publishedCA = "vault-ca.pem"

// publishedListener is what a Vault machine puts there: the certificate that it made for itself.
func publishedListener(machine string) string { return "vault/" + machine + ".pem" }

// cloud is the provider, if its machines prove by themselves which they are.
func (c *Cluster) cloud() (provider.Cloud, bool) {
	p, ok := c.Provider.(provider.Cloud)
	return p, ok
}

// withCloud adds what a cloud has beside the machines that the file names.
func (c *Cluster) withCloud(ctx context.Context, machines, have []provider.Machine) ([]provider.Machine, error) {
	p, ok := c.cloud()
	if !ok {
		return machines, nil
	}
	for _, m := range have {
		if c.grouped(m) {
			machines = append(machines, m)
		}
	}
	balancer, err := p.Balancer(ctx)
	return append(machines, balancer), err
}

// grouped says whether a machine is a member of a group that the file declares.
func (c *Cluster) grouped(m provider.Machine) bool {
	for _, p := range c.groups() {
		if p.Name == m.Pool {
			return true
		}
	}
	return false
}

// groups are the pools whose machines come and go.
func (c *Cluster) groups() []v1alpha1.Pool {
	var out []v1alpha1.Pool
	for _, p := range c.Spec.Spec.Pools {
		if c.Spec.Spec.Provider.Grouped(p.Role) {
			out = append(out, p)
		}
	}
	return out
}

// agents are the machines that one of ours runs on.
func (c *Cluster) agents(machines []provider.Machine) []provider.Machine {
	var out []provider.Machine
	for _, m := range machines {
		if !c.Spec.Spec.Provider.Managed(m.Role) {
			out = append(out, m)
		}
	}
	return out
}

// groupDesired is what the members of a pool share.
func (c *Cluster) groupDesired(p v1alpha1.Pool, machines []provider.Machine, t trust, revoked unit.Revoked) unit.Desired {
	d := c.desired(provider.Machine{Name: p.Name, Role: p.Role}, machines, t)
	d.Revoked = revocationsFor(revoked, provider.Machine{Role: p.Role, Pool: p.Name}, machines)
	return d
}

// vaultCloud is what Vault has to know to tell this cluster's machines; nil if they need no such thing.
func (c *Cluster) vaultCloud(ctx context.Context) (*vault.AWS, error) {
	p, ok := c.cloud()
	if !ok {
		return nil, nil
	}
	at, err := p.Place(ctx)
	if err != nil {
		return nil, err
	}
	a := &vault.AWS{Account: at.Account, Region: at.Region, VPC: at.Network, CIDR: at.Range}
	for _, g := range c.groups() {
		a.Pools = append(a.Pools, vault.AWSPool{Name: g.Name, Role: g.Role})
	}
	return a, nil
}

// operatorAddress is where the operator's connections come from: the first address of the machines' network, or of a cloud the
// bastion's.
func (c *Cluster) operatorAddress(machines []provider.Machine) netip.Addr {
	if _, ok := c.cloud(); ok {
		for _, m := range machines {
			if m.Role == v1alpha1.RoleBastion {
				return m.Address
			}
		}
	}
	return netip.MustParsePrefix(c.Spec.Spec.Provider.MachineCIDR()).Masked().Addr().Next()
}

// unpublished says that machines do not find Vault's CA where they look for it.
func (c *Cluster) unpublished(ctx context.Context) (bool, error) {
	p, ok := c.cloud()
	if !ok || c.vaultCA() == "" {
		return false, nil
	}
	have, err := p.Published(ctx, publishedCA)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return string(have) != c.vaultCA(), err
}

// publish lets the machines of a cloud find Vault's CA.
func (c *Cluster) publish(ctx context.Context) error {
	missing, err := c.unpublished(ctx)
	if err != nil || !missing {
		return err
	}
	p, _ := c.cloud()
	return p.Publish(ctx, publishedCA, []byte(c.vaultCA()))
}

// named are the machines that log in to Vault by a name of their own.
func (c *Cluster) named(machines []provider.Machine) []unit.Machine {
	var out []unit.Machine
	for _, m := range c.agents(machines) {
		if m.Pool == "" {
			out = append(out, unit.Machine{Name: m.Name, Role: m.Role, Address: m.Address})
		}
	}
	return out
}

// booting is how long a cloud's machine may take from nothing until its agent runs: it boots, and fetches its software.
const booting = 10 * time.Minute

// patience is how long something may take that takes no longer than limit where machines are there at once.
func (c *Cluster) patience(limit time.Duration) time.Duration {
	if _, ok := c.cloud(); ok {
		return limit + booting
	}
	return limit
}
