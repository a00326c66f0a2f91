package aws

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ashlar.dev/ashlar/internal/provider"
)

var _ provider.Instances = (*Provider)(nil)

// Instances are the IDs of the cluster's instances that are not terminated. Whoever is not among them is revoked: so it is an
// error, and not none, where nothing is known of the cluster, as with the credentials of another account.
func (p *Provider) Instances(ctx context.Context) ([]string, error) {
	out, instances, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(out.Machines) == 0 || len(instances) == 0 {
		return nil, errors.New("the state, or EC2, knows of no machine of the cluster: are these the credentials of its account?")
	}
	return ids(instances), nil
}

func ids(instances []types.Instance) []string {
	var out []string
	for _, i := range instances {
		out = append(out, aws.ToString(i.InstanceId))
	}
	return out
}
