// Package topology makes of what OpenTofu plans, or has made, on AWS the graph that package exposure asks who reaches whom: before
// anything exists. What is not understood, or not known before it is made, may let pass all it might.
//
// What AWS does is taken from its documentation. Between subnets, every VPC has a router. An interface has the rules of its security
// groups, all of them together, which are about connections; a subnet those of its network ACL, which are about packets. An internet
// gateway translates public addresses of IPv4, and passes IPv6; packets that claim to come from the VPC it does not take.
package topology

import (
	"cmp"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// OfPlan is the network as a plan will make it, of the modules that have their root in modules.
func OfPlan(plan *tfjson.Plan, modules fs.FS) (*exposure.Graph, error) {
	all, err := symbol.Plan(plan, modules)
	if err != nil {
		return nil, err
	}
	return Of(all), nil
}

// OfState is the network as it was made.
func OfState(state *tfjson.State) (*exposure.Graph, error) {
	all, err := symbol.State(state)
	if err != nil {
		return nil, err
	}
	return Of(all), nil
}

// network is what is known so far.
type network struct {
	resources map[string][]*symbol.Resource // by type
	labels    map[string]string             // by address
	graph     *exposure.Graph
	vpcs      []*vpc
	subnets   []*subnet
	tables    map[string]*table
	groups    map[string]*group
	hosts     []*host
	strangers []stranger
	// anyGroup are rules of nobody knows which group.
	anyGroup group
	standIns map[string]netip.Addr // the last of each kind
}

// Of is the network of resources.
func Of(resources []symbol.Resource) *exposure.Graph {
	n := &network{resources: map[string][]*symbol.Resource{}, labels: map[string]string{}, graph: &exposure.Graph{Names: map[netip.Addr]string{}},
		tables: map[string]*table{}, groups: map[string]*group{}, standIns: map[string]netip.Addr{}}
	for i := range resources {
		r := &resources[i]
		kind := r.Type
		if r.Data {
			kind = "data." + kind
		} else if rest, old := strings.CutPrefix(kind, "aws_alb"); old {
			kind = "aws_lb" + rest
		}
		n.resources[kind] = append(n.resources[kind], r)
	}
	n.name(resources)
	n.readVPCs()
	n.readSubnets()
	n.readTables()
	n.readGroups()
	n.readNATs()
	n.readMachines()
	n.readBalancers()
	n.readAddresses()
	n.readACLs()
	n.readStrangers()
	n.build()
	return n.graph
}

// parts are all resources of a type.
func (n *network) parts(kind string) []part {
	var out []part
	for _, r := range n.resources[kind] {
		out = append(out, partOf(r))
	}
	return out
}

// name finds short names for people, each for one resource.
func (n *network) name(resources []symbol.Resource) {
	used := map[string]int{}
	short := func(r *symbol.Resource) string {
		p := partOf(r)
		key, _ := r.Key.(string)
		switch r.Type {
		case "aws_lb", "aws_alb":
			return cmp.Or(known(p.text("name")), p.tag("Name"), key, r.Address)
		case "aws_autoscaling_group":
			return cmp.Or(p.tag("ashlar.dev/pool"), key, known(p.text("name")), r.Address)
		}
		return cmp.Or(p.tag("ashlar.dev/machine"), p.tag("Name"), key, r.Address)
	}
	for i := range resources {
		used[resources[i].Type+short(&resources[i])]++
	}
	for i := range resources {
		r := &resources[i]
		name := short(r)
		if used[r.Type+name] > 1 {
			name = r.Address
		}
		n.labels[r.Address] = name
	}
}

func known(s string) string {
	if symbol.IsSymbol(s) {
		return ""
	}
	return s
}

// standIn is an address for one that nobody knows yet. Those of 240.0.0.0/4 and 2001:db8::/32 nobody has.
func (n *network) standIn(six bool, name string) netip.Addr {
	kind, at := "four", netip.MustParseAddr("240.0.0.0")
	if six {
		kind, at = "six", netip.MustParseAddr("2001:db8::")
	}
	if last, ok := n.standIns[kind]; ok {
		at = last
	}
	at = at.Next()
	n.standIns[kind] = at
	if name != "" {
		n.graph.Names[at] = name
	}
	return at
}

func (n *network) assume(what string) {
	if !slices.Contains(n.graph.Assumed, what) {
		n.graph.Assumed = append(n.graph.Assumed, what)
	}
}

// internet is where all comes from.
const internet = provider.FromInternet

var (
	anywhere4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	anywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)
