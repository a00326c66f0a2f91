package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/bucket"
	"ashlar.dev/ashlar/internal/provider"
)

var _ provider.Cloud = (*Provider)(nil)

// Place is where Vault has to find the instances that log in.
func (p *Provider) Place(ctx context.Context) (provider.Place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := provider.Place{Region: p.region()}
	var err error
	if at.Range, err = netip.ParsePrefix(p.Cluster.Spec.Provider.MachineCIDR()); err != nil {
		return at, err
	}
	if at.Account, err = p.whoAmI(ctx); err != nil {
		return at, err
	}
	out, err := p.readOutputs(ctx)
	if err == nil {
		at.Network = out.VPC
	}
	return at, err
}

// Balancer is the network load balancer in front of the API servers. Its addresses are its own as long as it exists; AWS says them
// only of its network interfaces.
func (p *Provider) Balancer(ctx context.Context) (provider.Machine, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := provider.Machine{Name: "api." + p.name() + ".internal", Role: v1alpha1.RoleLB, State: provider.Absent}
	out, err := p.readOutputs(ctx)
	if err != nil || out.APIEndpoint == "" {
		return m, err
	}
	if out.balancer.IsValid() {
		m.State, m.Address = provider.Running, out.balancer
		return m, nil
	}
	c, err := p.aws(ctx)
	if err != nil {
		return m, err
	}
	answer, err := ec2.NewFromConfig(c).DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
		{Name: aws.String("description"), Values: []string{"ELB net/" + p.name() + "-api/*"}},
		{Name: aws.String("vpc-id"), Values: []string{out.VPC}},
	}})
	if err != nil {
		return m, fmt.Errorf("ask EC2 for the addresses of the load balancer %s: %w", m.Name, err)
	}
	in := slices.SortedFunc(slices.Values(answer.NetworkInterfaces), func(a, b types.NetworkInterface) int {
		return cmp.Compare(aws.ToString(a.AvailabilityZone), aws.ToString(b.AvailabilityZone))
	})
	if len(in) == 0 {
		return m, nil
	}
	m.State = provider.Running
	m.Address, err = netip.ParseAddr(aws.ToString(in[0].PrivateIpAddress))
	out.balancer = m.Address
	return m, err
}

// Publish puts a small file into the cluster's part of the bucket that machines read.
func (p *Provider) Publish(ctx context.Context, name string, content []byte) error {
	c, at, err := p.published(ctx, name)
	if err != nil {
		return err
	}
	return c.Put(ctx, at, content)
}

// Published reads what is there, by whom ever: fs.ErrNotExist if nothing is.
func (p *Provider) Published(ctx context.Context, name string) ([]byte, error) {
	c, at, err := p.published(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, at)
}

func (p *Provider) published(ctx context.Context, name string) (*bucket.Client, bucket.Location, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != strings.TrimPrefix(path.Clean("/"+name), "/") {
		return nil, bucket.Location{}, errors.New("publish " + name + ": not a plain name")
	}
	b, err := p.bucket(ctx, "bundle")
	if err != nil {
		return nil, bucket.Location{}, err
	}
	c, err := p.aws(ctx)
	return bucket.Of(c), bucket.Location{Bucket: b, Key: p.name() + "/" + name}, err
}
