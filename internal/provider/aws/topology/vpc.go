package topology

import (
	"fmt"
	"net/netip"

	"ashlar.dev/ashlar/internal/exposure"
)

// vpc is a network of AWS.
type vpc struct {
	id, name string
	own      []netip.Prefix
	gateways []gateway
	main     string // its main route table
	planned  bool
	router   netip.Addr
}

// gateway is a way out of a VPC to the internet, by which one may come in; outward only, by which one may not.
type gateway struct {
	id, name string
	outward  bool
	address  netip.Addr
}

// subnet is a part of a VPC.
type subnet struct {
	id, name    string
	vpc         *vpc
	four, six   netip.Prefix
	maps, mapsV truth // public addresses of IPv4, and addresses of IPv6, for what is made in it
	planned     bool
	routes      []route
	acl         *acl
	router      netip.Addr
	given       map[netip.Addr]bool
}

func (n *network) readVPCs() {
	for _, p := range n.parts("aws_vpc") {
		v := &vpc{id: p.text("id"), name: n.labels[p.at], planned: true, main: p.text("default_route_table_id"), router: n.standIn(false, n.labels[p.at])}
		v.own, _ = p.prefixes("cidr_block", "ipv6_cidr_block")
		n.vpcs = append(n.vpcs, v)
	}
	for _, kind := range []string{"aws_vpc_ipv4_cidr_block_association", "aws_vpc_ipv6_cidr_block_association"} {
		for _, p := range n.parts(kind) {
			own, _ := p.prefixes("cidr_block", "ipv6_cidr_block")
			v := n.vpc(p.text("vpc_id"))
			v.own = append(v.own, own...)
		}
	}
	for kind, outward := range map[string]bool{"aws_internet_gateway": false, "aws_egress_only_internet_gateway": true} {
		for _, p := range n.parts(kind) {
			if p.left("vpc_id") {
				continue // attached by something else, or by nothing
			}
			n.gateway(p, p.text("vpc_id"), outward)
		}
	}
	for _, p := range n.parts("aws_internet_gateway_attachment") {
		n.gateway(part{at: p.at, values: map[string]any{"id": p.text("internet_gateway_id")}}, p.text("vpc_id"), false)
	}
	for _, p := range n.parts("aws_main_route_table_association") {
		n.vpc(p.text("vpc_id")).main = p.text("route_table_id")
	}
}

func (n *network) gateway(p part, id string, outward bool) {
	of := n.vpcs
	if id != "" {
		of = []*vpc{n.vpc(id)}
	}
	for _, v := range of {
		v.gateways = append(v.gateways, gateway{p.text("id"), "internet gateway " + n.labels[p.at], outward, n.standIn(false, "internet gateway "+n.labels[p.at])})
	}
}

// readNATs reads the gateways by which machines go out, and nobody comes in.
func (n *network) readNATs() {
	for _, p := range n.parts("aws_nat_gateway") {
		h := n.host(p.text("id"), "NAT gateway "+n.labels[p.at])
		h.nat, h.role = true, "NAT gateway"
		h.add(n.face(part{at: p.at, values: map[string]any{"private_ip": p.values["private_ip"]}}, n.subnet(p.text("subnet_id"), nil), "none", no))
		h.faces[0].groups, h.faces[0].open = nil, ""
	}
}

// vpc is that of an id. Of one that is not of the plan, nothing is known but what was looked up.
func (n *network) vpc(id string) *vpc {
	for _, v := range n.vpcs {
		if v.id == id && id != "" {
			return v
		}
	}
	v := &vpc{id: id, name: id, main: "main of " + id, router: n.standIn(false, "VPC "+id)}
	for _, p := range n.parts("data.aws_vpc") {
		if p.text("id") == id && id != "" {
			v.own, _ = p.prefixes("cidr_block", "ipv6_cidr_block")
		}
	}
	if id == "" {
		v.name = "nobody knows which"
	}
	v.gateways = []gateway{{"", "an internet gateway of " + v.name, false, n.standIn(false, "")}}
	n.assume(fmt.Sprintf("VPC %s is not made here: it has an internet gateway, to which each of its subnets may have a route, no network ACL that counts, "+
		"and no other way in from the internet", v.name))
	n.vpcs = append(n.vpcs, v)
	return v
}

func (n *network) readSubnets() {
	parts := append(n.parts("aws_subnet"), n.parts("aws_default_subnet")...)
	for _, p := range parts {
		n.subnets = append(n.subnets, n.newSubnet(p, true))
	}
}

func (n *network) newSubnet(p part, planned bool) *subnet {
	s := &subnet{id: p.text("id"), name: n.labels[p.at], vpc: n.vpc(p.text("vpc_id")), planned: planned, given: map[netip.Addr]bool{},
		maps: p.truth("map_public_ip_on_launch", no), mapsV: p.truth("assign_ipv6_address_on_creation", no)}
	if !planned {
		s.name = s.id
	}
	if own, _ := p.prefixes("cidr_block"); len(own) == 1 && own[0].Addr().Is4() {
		s.four = own[0]
	}
	own, _ := p.prefixes("ipv6_cidr_block")
	switch {
	case len(own) == 1:
		s.six = own[0]
	case p.vague("ipv6_cidr_block") || !p.left("ipv6_cidr_block") || s.mapsV != no:
		s.six = netip.PrefixFrom(n.standIn(true, ""), 128) // not known before it is made
	}
	s.router = n.standIn(false, s.name)
	return s
}

// subnet is that of an id. One that is not of the plan may be anything that was not looked up.
func (n *network) subnet(id string, of *vpc) *subnet {
	for _, s := range n.subnets {
		if s.id == id && id != "" {
			return s
		}
	}
	values := map[string]any{"id": id, "map_public_ip_on_launch": "perhaps"}
	if of != nil {
		values["vpc_id"] = of.id
	}
	for _, p := range n.parts("data.aws_subnet") {
		if p.text("id") == id && id != "" {
			values = p.values
		}
	}
	s := n.newSubnet(part{at: "subnet " + id, values: values}, false)
	if id == "" {
		s.name = "a subnet nobody knows"
	}
	for _, g := range s.vpc.gateways {
		s.routes = append(s.routes, route{Route: exposure.Route{Prefix: anywhere4, Maybe: true}, to: g.id}, route{Route: exposure.Route{Prefix: anywhere6, Maybe: true}, to: g.id})
	}
	n.subnets = append(n.subnets, s)
	return s
}

// give is an address in a subnet for somebody whose own is not known: one of the last.
func (n *network) give(s *subnet) netip.Addr {
	if !s.four.IsValid() {
		return n.standIn(false, "")
	}
	last := exposure.Prefixes(s.four)[0].Last()
	for a := last.Prev(); s.four.Contains(a) && a != s.four.Addr(); a = a.Prev() {
		if !s.given[a] {
			s.given[a] = true
			return a
		}
	}
	return n.standIn(false, "")
}
