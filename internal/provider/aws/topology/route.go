package topology

import (
	"net/netip"

	"ashlar.dev/ashlar/internal/exposure"
)

// route is one of a table, to what has an id.
type route struct {
	exposure.Route
	to string
}

// table is a route table.
type table struct{ routes []route }

// targets are the attributes of a route that say where it leads.
var targets = []string{"gateway_id", "nat_gateway_id", "egress_only_gateway_id", "network_interface_id", "transit_gateway_id",
	"vpc_peering_connection_id", "vpc_endpoint_id", "carrier_gateway_id", "local_gateway_id", "core_network_arn", "instance_id"}

func (n *network) table(id string) *table {
	if n.tables[id] == nil {
		n.tables[id] = &table{}
	}
	return n.tables[id]
}

// readTables reads routes, and which subnets have which.
func (n *network) readTables() {
	for _, p := range append(n.parts("aws_route_table"), n.parts("aws_default_route_table")...) {
		t := n.table(p.text("id"))
		if p.text("default_route_table_id") != "" {
			t = n.table(n.main(p.text("default_route_table_id")))
		}
		inline, sure := p.parts("route")
		for _, r := range inline {
			t.routes = append(t.routes, n.route(r, "cidr_block", "ipv6_cidr_block")...)
		}
		if !sure {
			t.routes = append(t.routes, anyRoute()...)
		}
	}
	for _, p := range n.parts("data.aws_route_table") {
		all, _ := part{at: p.at, values: p.values}.parts("routes")
		t := n.table(p.text("route_table_id"))
		for _, r := range all {
			t.routes = append(t.routes, n.route(r, "cidr_block", "ipv6_cidr_block")...)
		}
	}
	n.endpoints()
	var everywhere []route
	for _, p := range n.parts("aws_route") {
		routes := n.route(p, "destination_cidr_block", "destination_ipv6_cidr_block")
		if p.vague("route_table_id") {
			everywhere = append(everywhere, unsure(routes)...)
			continue
		}
		t := n.table(n.main(p.text("route_table_id")))
		t.routes = append(t.routes, routes...)
	}
	of := map[*subnet]bool{}
	var vague bool
	for _, p := range append(n.parts("aws_route_table_association"), n.parts("data.aws_route_table")...) {
		switch {
		case p.vague("subnet_id") || p.vague("route_table_id"):
			vague = true
		case p.text("subnet_id") != "":
			s := n.subnet(p.text("subnet_id"), nil)
			if !of[s] {
				s.routes = nil
			}
			s.routes = append(s.routes, n.table(n.main(p.text("route_table_id"))).routes...)
			of[s] = true
		}
	}
	for _, s := range n.subnets {
		if !of[s] && s.planned {
			s.routes = append(s.routes, n.table(n.main(s.vpc.main)).routes...)
		}
		s.routes = append(s.routes, everywhere...)
		if vague {
			for _, t := range n.tables {
				s.routes = append(s.routes, unsure(t.routes)...)
			}
		}
	}
}

// endpoints are those that a service of AWS is reached by, by routes to the addresses that it is known by.
func (n *network) endpoints() {
	for _, p := range n.parts("aws_vpc_endpoint") {
		if kind := p.text("vpc_endpoint_type"); kind != "" && kind != "Gateway" {
			continue
		}
		var all []netip.Prefix
		for _, list := range n.parts("data.aws_prefix_list") {
			if list.text("name") == p.text("service_name") {
				all, _ = list.prefixes("cidr_blocks")
			}
		}
		tables, _ := p.texts("route_table_ids")
		for _, id := range tables {
			t := n.table(n.main(id))
			for _, x := range all {
				t.routes = append(t.routes, route{Route: exposure.Route{Prefix: x}, to: p.text("id")})
			}
		}
	}
}

// main is the one name of a VPC's own route table, which has two.
func (n *network) main(id string) string {
	for _, p := range n.parts("aws_vpc") {
		if id != "" && id == p.text("main_route_table_id") {
			return p.text("default_route_table_id")
		}
	}
	return id
}

func unsure(routes []route) []route {
	var out []route
	for _, r := range routes {
		r.Maybe = true
		out = append(out, r)
	}
	return out
}

// anyRoute leads anywhere.
func anyRoute() []route {
	return []route{{Route: exposure.Route{Prefix: anywhere4, Maybe: true}}, {Route: exposure.Route{Prefix: anywhere6, Maybe: true}}}
}

func (n *network) route(p part, four, six string) []route {
	to := ""
	for _, t := range targets {
		if p.text(t) != "" && !p.left(t) {
			to = p.text(t)
		}
	}
	if to == "local" {
		return nil
	}
	prefixes, sure := p.prefixes(four, six)
	list := p.text("destination_prefix_list_id")
	if list != "" && !p.left("destination_prefix_list_id") {
		prefixes, sure = n.prefixList(list)
	}
	var out []route
	for _, x := range prefixes {
		out = append(out, route{Route: exposure.Route{Prefix: x}, to: to})
	}
	if !sure {
		for _, x := range []netip.Prefix{anywhere4, anywhere6} {
			out = append(out, route{Route: exposure.Route{Prefix: x, Maybe: true}, to: to})
		}
	}
	return out
}

// prefixList are the networks of one that is made here.
func (n *network) prefixList(id string) (all []netip.Prefix, sure bool) {
	for _, p := range n.parts("aws_ec2_managed_prefix_list") {
		if p.text("id") != id {
			continue
		}
		entries, sure := p.parts("entry")
		for _, e := range entries {
			one, known := e.prefixes("cidr")
			all, sure = append(all, one...), sure && known
		}
		for _, e := range n.parts("aws_ec2_managed_prefix_list_entry") {
			if e.text("prefix_list_id") == id || e.vague("prefix_list_id") {
				one, known := e.prefixes("cidr")
				all, sure = append(all, one...), sure && known
			}
		}
		return all, sure
	}
	for _, kind := range []string{"data.aws_prefix_list", "data.aws_ec2_managed_prefix_list"} {
		for _, p := range n.parts(kind) {
			if p.text("id") != id && p.text("prefix_list_id") != id {
				continue
			}
			all, sure := p.prefixes("cidr_blocks")
			entries, known := p.parts("entries")
			for _, e := range entries {
				one, is := e.prefixes("cidr")
				all, known = append(all, one...), known && is
			}
			return all, sure && known && len(all) > 0
		}
	}
	return nil, false
}
