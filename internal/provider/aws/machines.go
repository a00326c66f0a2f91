package aws

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

const (
	clusterTag = "ashlar.dev/cluster"
	groupTag   = "aws:autoscaling:groupName"
)

// List returns the machines that exist: those with a name, and the members that groups have now.
func (p *Provider) List(ctx context.Context) ([]provider.Machine, error) {
	out, instances, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	return machinesOf(p.Cluster, out, instances), nil
}

// read asks the state and EC2 what there is.
func (p *Provider) read(ctx context.Context) (*Outputs, []types.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := p.readOutputs(ctx)
	if err != nil || len(out.Machines)+len(out.Groups) == 0 {
		return out, nil, err
	}
	if p.heard != nil && time.Since(p.heardAt) < hearsay {
		return out, p.heard, nil
	}
	p.heard, err = p.describe(ctx)
	p.heardAt = time.Now()
	return out, p.heard, err
}

// hearsay is how long it is good what EC2 said last: whoever waits looks ten times as often, and EC2 throttles.
const hearsay = time.Second

// ask has EC2 asked again, once something was done to instances.
func (p *Provider) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = nil
}

// describe asks EC2 for the instances of the cluster that are not terminated. A caller holds mu.
func (p *Provider) describe(ctx context.Context) ([]types.Instance, error) {
	c, err := p.aws(ctx)
	if err != nil {
		return nil, err
	}
	pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(c), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + clusterTag), Values: []string{p.name()}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}},
	}})
	var out []types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask EC2 for the instances of %s: %w", p.name(), err)
		}
		for _, r := range page.Reservations {
			out = append(out, r.Instances...)
		}
	}
	return out, nil
}

// machinesOf puts together what the state and EC2 know. A named machine whose instance is gone keeps its address.
func machinesOf(c *v1alpha1.Cluster, out *Outputs, instances []types.Instance) []provider.Machine {
	states := map[string]provider.State{}
	for _, i := range instances {
		states[aws.ToString(i.InstanceId)] = stateOf(i)
	}
	var all []provider.Machine
	named := map[string]bool{}
	for name, m := range out.Machines {
		named[m.InstanceID] = true
		next := provider.Machine{Name: name, Role: m.Role, Address: m.PrivateIP, State: cmp.Or(states[m.InstanceID], provider.Absent)}
		if m.Role == v1alpha1.RoleBastion {
			next.Public = out.BastionAddress
		}
		all = append(all, next)
	}
	pools := map[string]string{}
	for pool, group := range out.Groups {
		pools[group] = pool
	}
	for _, i := range instances {
		pool, member := pools[tag(i, groupTag)]
		if !member || named[aws.ToString(i.InstanceId)] {
			continue
		}
		address, err := netip.ParseAddr(aws.ToString(i.PrivateIpAddress))
		if err != nil {
			continue // it has none yet
		}
		all = append(all, provider.Machine{Name: unit.MemberName(aws.ToString(i.InstanceId), c.Spec.Provider.AWS.Region), Role: roleOf(c, pool),
			Address: address, State: stateOf(i), Pool: pool})
	}
	slices.SortFunc(all, func(a, b provider.Machine) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func roleOf(c *v1alpha1.Cluster, pool string) v1alpha1.Role {
	for _, p := range c.Spec.Pools {
		if p.Name == pool {
			return p.Role
		}
	}
	return v1alpha1.RoleWorker // of a pool that the file does not have any more
}

func stateOf(i types.Instance) provider.State {
	if i.State == nil {
		return provider.Absent
	}
	switch i.State.Name {
	case types.InstanceStateNamePending, types.InstanceStateNameRunning:
		return provider.Running
	case types.InstanceStateNameStopping, types.InstanceStateNameStopped:
		return provider.Stopped
	}
	return provider.Absent
}

func tag(i types.Instance, key string) string {
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// instance is the id of a machine's.
func (p *Provider) instance(ctx context.Context, name string) (string, error) {
	out, instances, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	if m, ok := out.Machines[name]; ok {
		return m.InstanceID, nil
	}
	for _, i := range instances {
		if unit.MemberName(aws.ToString(i.InstanceId), p.region()) == name {
			return aws.ToString(i.InstanceId), nil
		}
	}
	return "", fmt.Errorf("there is no machine %s: `ashlar status` lists them", name)
}
