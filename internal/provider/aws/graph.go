package aws

import (
	"context"

	"ashlar.dev/ashlar/internal/exposure"
)

// Graph is the network as OpenTofu has planned it: what is there, as the last refresh saw it, with what would change.
func (p *Provider) Graph(ctx context.Context) (*exposure.Graph, error) {
	plan, err := p.Plan(ctx, p.Network)
	if err != nil {
		return nil, err
	}
	return GraphOf(plan, p.Modules)
}
