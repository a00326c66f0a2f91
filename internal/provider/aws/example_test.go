package aws_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/test/awsapi"
)

// Each example is planned before anything exists, made, found to be as it should, and removed.
func TestExamples(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			c := example(t, name)
			a := newAccount(t, c.Metadata.Name, c.Spec.Provider.AWS.Region)
			if v := c.Spec.Provider.AWS.VPC; v != nil {
				a.existing(t, c)
			}
			p, ctx := a.operator(t, c, name), within(t, 10*time.Minute)
			first, err := p.NetworkDrift(ctx, nil, network(c))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".plan.txt", words(first))
			if have, err := p.List(ctx); err != nil || len(have) > 0 {
				t.Errorf("before anything exists there is %v (%v)", have, err)
			}
			if err := p.EnsureNetwork(ctx, nil, network(c)); err != nil {
				t.Fatal(err)
			}
			a.instances(t, c.Metadata.Name)
			again := a.operator(t, c, name+"-again") // from another machine, which knows nothing
			second, err := again.NetworkDrift(ctx, nil, network(c))
			if err != nil {
				t.Fatal(err)
			}
			if len(second) > 0 {
				t.Errorf("the same file again, and there is something to change:\n%s", words(second))
			}
			have, err := again.List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			checkMachines(t, c, have)
			if err := again.Destroy(ctx); err != nil {
				t.Fatal(err)
			}
			a.checkEmpty(t, c)
		})
	}
}

func checkMachines(t *testing.T, c *v1alpha1.Cluster, have []provider.Machine) {
	t.Helper()
	byName := map[string]provider.Machine{}
	for _, m := range have {
		byName[m.Name] = m
	}
	for _, m := range c.Machines() {
		h, ok := byName[m.Name]
		if !ok || h.Role != m.Role || !h.Address.IsValid() || h.State != provider.Running {
			t.Errorf("machine %s is %+v", m.Name, h)
		}
		if h.Public.IsValid() != (m.Role == v1alpha1.RoleBastion) {
			t.Errorf("machine %s has the public address %s", m.Name, h.Public)
		}
	}
	for _, p := range c.Spec.Pools {
		n := 0
		for _, h := range have {
			if c.Spec.Provider.Grouped(p.Role) && h.Role == p.Role && strings.HasPrefix(h.Name, "i-") && strings.HasSuffix(h.Name, ".compute.internal") {
				n++
			}
		}
		if c.Spec.Provider.Grouped(p.Role) && n < p.Count {
			t.Errorf("of pool %s there are %d members, want %d or more, in %v", p.Name, n, p.Count, have)
		}
	}
}

// existing makes the VPC that an example builds in.
func (a *account) existing(t *testing.T, c *v1alpha1.Cluster) {
	t.Helper()
	v := c.Spec.Provider.AWS.VPC
	a.change(t, func(all map[string]map[string]object) {
		all["aws_vpc"] = map[string]object{v.ID: {"id": v.ID, "cidr_block": c.Spec.Provider.AWS.VPCCIDR, "enable_dns_support": true, "enable_dns_hostnames": true}}
		all["aws_internet_gateway"] = map[string]object{"igw-0123456789abcdef0": {"id": "igw-0123456789abcdef0", "vpc_id": v.ID}}
		all["aws_subnet"] = map[string]object{}
		for kind, ids := range [][]string{v.PublicSubnets, v.PrivateSubnets} {
			for i, id := range ids {
				all["aws_subnet"][id] = object{"id": id, "vpc_id": v.ID, "availability_zone": c.Spec.Provider.AWS.Zones[i],
					"cidr_block": []string{"10.40.0.0/20", "10.40.16.0/20", "10.40.32.0/20", "10.40.48.0/20"}[2*kind+i]}
			}
		}
	})
}

// checkEmpty: of what was made nothing is left, and of what was there nothing is gone.
func (a *account) checkEmpty(t *testing.T, c *v1alpha1.Cluster) {
	t.Helper()
	there := map[string]bool{}
	if v := c.Spec.Provider.AWS.VPC; v != nil {
		for _, id := range slices.Concat([]string{v.ID, "igw-0123456789abcdef0"}, v.PublicSubnets, v.PrivateSubnets) {
			there[id] = true
		}
	}
	a.change(t, func(all map[string]map[string]object) {
		for kind, objects := range all {
			for id := range objects {
				if !there[id] {
					t.Errorf("%s %s is left", kind, id)
				}
				delete(there, id)
			}
		}
	})
	for id := range there {
		t.Errorf("%s was there before, and is gone", id)
	}
	a.Change(func(cloud *awsapi.Cloud) {
		if name := c.Metadata.Name + "-" + accountID + "-state"; cloud.Buckets[name] != nil {
			t.Errorf("the bucket %s is left", name)
		}
		for id, key := range cloud.ManagedKeys {
			if key.State != "PendingDeletion" || !key.Rotates {
				t.Errorf("key %s is %+v", id, key)
			}
		}
	})
}
