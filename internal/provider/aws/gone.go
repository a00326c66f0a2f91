package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Gone are those of some instances that are terminated, or on their way to that. One that EC2 does not know is not among them, unless it
// knows another that was asked about: somebody else's credentials, or another region, would know none. ids must not be empty.
func Gone(ctx context.Context, c aws.Config, ids []string) ([]string, error) {
	states := map[string]types.InstanceStateName{}
	pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(c), &ec2.DescribeInstancesInput{
		// Not by InstanceIds: one that is unknown would make an error of all.
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: ids}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask EC2 for instances of nodes that are silent: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				states[aws.ToString(i.InstanceId)] = i.State.Name
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !gone(states[id], len(states) > 0) }), nil
}

// gone decides by a state; empty is that of an instance that EC2 does not know.
func gone(state types.InstanceStateName, knowsOthers bool) bool {
	switch state {
	case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
		return true
	case "":
		return knowsOthers
	}
	return false
}
