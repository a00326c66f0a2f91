package provider

import "context"

// Instances is a Provider whose machines are instances of a cloud: they end, and others follow them under the same name or none.
type Instances interface {
	Provider
	// Instances are the IDs of the cluster's instances that are not terminated.
	Instances(ctx context.Context) ([]string, error)
}
