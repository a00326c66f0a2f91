package exposure

import "slices"

// From returns all that the packets of one node reach, which it sends from its own addresses: other nodes, itself by way of others, and
// whoever is outside.
func From(g *Graph, node string) Surface {
	turned := &Graph{Nodes: slices.Clone(g.Nodes)}
	var own Ranges
	for i := range turned.Nodes {
		n := &turned.Nodes[i]
		if n.Name == node {
			own = Addresses(n.addresses()...)
		}
		if n.Kind == Internet {
			n.Kind = Machine
		}
	}
	return begin(turned, own, func(n *Node) bool { return n.Name == node }).surface()
}
