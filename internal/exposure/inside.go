package exposure

import "slices"

// From returns all that the packets of one node reach, which it sends from its own addresses: other nodes, and whoever is outside.
// They leave by whoever is on a network with it, who may ask them by which attachment they came.
func From(g *Graph, node string) Surface {
	turned := &Graph{Nodes: slices.Clone(g.Nodes)}
	var own Ranges
	for i := range turned.Nodes {
		n := &turned.Nodes[i]
		switch {
		case n.Name == node:
			n.Kind, own = Internet, Addresses(n.addresses()...)
		case n.Kind == Internet:
			n.Kind = Machine
		}
	}
	return Reach(turned, own)
}
