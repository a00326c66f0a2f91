package aws

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"ashlar.dev/ashlar/internal/provider"
)

// client asks EC2 about one machine.
func (p *Provider) client(ctx context.Context, name string) (*ec2.Client, []string, error) {
	id, err := p.instance(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.aws(ctx)
	return ec2.NewFromConfig(c), []string{id}, err
}

// Start powers a machine on. What it boots is in its user data, so there is nothing to put on it before.
func (p *Provider) Start(ctx context.Context, m provider.Machine, _ []provider.File) error {
	defer p.ask()
	c, ids, err := p.client(ctx, m.Name)
	if err == nil {
		_, err = c.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: ids})
	}
	if err != nil {
		return fmt.Errorf("power %s on: %w", m.Name, err)
	}
	return nil
}

// PowerOff stops a machine at once. A member of a group is replaced by its group.
func (p *Provider) PowerOff(ctx context.Context, name string) error {
	defer p.ask()
	c, ids, err := p.client(ctx, name)
	if err == nil {
		_, err = c.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: ids, Force: aws.Bool(true)})
	}
	if err != nil {
		return fmt.Errorf("power %s off: %w", name, err)
	}
	return nil
}

// Delete ends a machine. What it has beside its instance, its address and its data, OpenTofu removes when the file does not have it any more.
func (p *Provider) Delete(ctx context.Context, name string) error {
	defer p.ask()
	c, ids, err := p.client(ctx, name)
	if err == nil {
		_, err = c.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	}
	if err != nil {
		return fmt.Errorf("terminate %s: %w", name, err)
	}
	return nil
}
