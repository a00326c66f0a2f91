package phase

import (
	"context"
	"errors"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// Exposed is what the internet can reach of a cluster, held against what its file declares.
type Exposed struct {
	exposure.Comparison
	// Graph and Machines are what it was found in.
	Graph    *exposure.Graph    `json:"-"`
	Machines []provider.Machine `json:"-"`
}

// Exposure reads the network as it is. It needs neither Vault nor Kubernetes.
func Exposure(ctx context.Context, c *Cluster) (*Exposed, error) {
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	g, err := c.Provider.Graph(ctx)
	if err != nil {
		return nil, err
	}
	s := exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6))
	return &Exposed{exposure.Compare(claim.Public(c.Spec, machines), s, g.Inside()), g, machines}, nil
}
