package exposure

import "net/netip"

// What tests of the networks of clusters need of the tests here: they import what imports this package.

// Walked says where a walk of one packet ends, and Mutations are all that could be changed of a graph.
var Walked = walked

// Mutation is a graph with one thing less or more than another.
type Mutation struct {
	Name  string
	Graph *Graph
}

// Mutations of a graph that is made anew for each.
func Mutations(make func() *Graph) []Mutation {
	var out []Mutation
	for _, m := range mutations(make) {
		out = append(out, Mutation{m.name, m.Graph})
	}
	return out
}

// InUniverse has walks translate to any of these addresses and ports, until done is called.
func InUniverse(addresses []netip.Addr, ports []uint16) (done func()) {
	four, six, p := universe4, universe6, portsOf
	universe4, universe6, portsOf = addresses, nil, ports
	return func() { universe4, universe6, portsOf = four, six, p }
}
