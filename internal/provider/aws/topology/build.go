package topology

import (
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// build makes nodes of it all: a router for each gateway, each VPC and each subnet, and what is in them.
func (n *network) build() {
	outside := n.standIn(false, "the internet")
	n.graph.Nodes = append(n.graph.Nodes, exposure.Node{Name: internet, Kind: exposure.Internet,
		Attachments: []exposure.Attachment{{Name: internet, Network: internet, Addresses: []netip.Addr{outside}}}})
	for _, v := range n.vpcs {
		if len(n.in(v)) == 0 {
			continue
		}
		n.graph.Own = append(n.graph.Own, v.own...)
		for _, g := range v.gateways {
			n.graph.Nodes = append(n.graph.Nodes, n.gatewayNode(v, g, outside))
		}
		n.graph.Nodes = append(n.graph.Nodes, n.vpcNode(v))
		for _, s := range n.in(v) {
			n.graph.Nodes = append(n.graph.Nodes, n.subnetNode(s))
		}
	}
	for _, h := range n.hosts {
		switch {
		case h.nat:
			n.graph.Nodes = append(n.graph.Nodes, n.natNode(h))
		case h.balancer != nil:
			n.graph.Nodes = append(n.graph.Nodes, n.balancerNode(h))
		default:
			n.graph.Nodes = append(n.graph.Nodes, n.machineNode(h))
		}
	}
}

func (n *network) in(v *vpc) []*subnet {
	var out []*subnet
	for _, s := range n.subnets {
		if s.vpc == v {
			out = append(out, s)
		}
	}
	return out
}

// facesOf a subnet, or with nil of all.
func (n *network) facesOf(s *subnet) []*face {
	var out []*face
	for _, h := range n.hosts {
		for _, f := range h.faces {
			if s == nil || f.subnet == s {
				out = append(out, f)
			}
		}
	}
	return out
}

func (f *face) addresses() []netip.Addr { return slices.Concat(f.four, f.six) }

func between(a, b string) string { return a + " – " + b }

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// router is a node that forwards, and has an address to hand packets to, at which nobody answers.
func router(name string, address netip.Addr) exposure.Node {
	return exposure.Node{Name: name, Kind: exposure.Router, Forward4: true, Forward6: true, Delivering: []exposure.Chain{{Name: "to itself"}},
		Attachments: []exposure.Attachment{{Name: "itself", Addresses: []netip.Addr{address}}}}
}

func link(node *exposure.Node, name, network string) {
	node.Attachments = append(node.Attachments, exposure.Attachment{Name: name, Network: network})
}

// gatewayNode knows public addresses.
func (n *network) gatewayNode(v *vpc, g gateway, outside netip.Addr) exposure.Node {
	node := router(g.name, g.address)
	link(&node, internet, internet)
	arriving, leaving := exposure.Chain{Name: "public addresses", Accepts: true}, exposure.Chain{Name: "public addresses", Accepts: true}
	node.Routes = []exposure.Route{{Prefix: anywhere4, Attachment: internet, Via: outside}, {Prefix: anywhere6, Attachment: internet, Via: outside}}
	in, out := exposure.Match{In: []string{internet}}, exposure.Match{Out: []string{internet}}
	ours := in
	ours.Source = exposure.Prefixes(v.own...)
	for _, s := range n.in(v) {
		for _, f := range n.facesOf(s) {
			ours.Source = ours.Source.Or(exposure.Addresses(f.addresses()...))
		}
	}
	if len(ours.Source) > 0 {
		arriving.Rules = append(arriving.Rules, exposure.Rule{Match: ours, Verdict: exposure.Drop, Why: "nobody outside has an address of the VPC"})
	}
	for _, s := range n.in(v) {
		link(&node, s.name, between(g.name, s.name))
		back, perhaps := s.back(g)
		for _, f := range n.facesOf(s) {
			for _, a := range f.addresses() {
				node.Routes = append(node.Routes, exposure.Route{Prefix: single(a), Attachment: s.name, Via: s.router})
			}
			for _, p := range f.public {
				known, from := in, out
				known.Destination, from.Source = exposure.Addresses(p.address), exposure.Addresses(p.to)
				if !f.host.nat && !g.outward {
					to := exposure.Rule{Match: known, Verdict: exposure.Translate, Maybe: p.maybe, To: exposure.Rewrite{Destination: exposure.Addresses(p.to)}, Why: p.why}
					arriving.Rules = append(arriving.Rules, returned(to, back, perhaps)...)
				}
				if !g.outward {
					leaving.Rules = append(leaving.Rules, exposure.Rule{Match: from, Verdict: exposure.Translate, Maybe: p.maybe,
						To: exposure.Rewrite{Source: exposure.Addresses(p.address)}, Why: p.why})
				}
			}
			for _, a := range f.six {
				known, from := in, out
				known.Destination, from.Source = exposure.Addresses(a), exposure.Addresses(a)
				if !g.outward && !f.host.nat {
					arriving.Rules = append(arriving.Rules, returned(exposure.Rule{Match: known, Verdict: exposure.Accept, Why: "an address of IPv6 is a public one"}, back, perhaps)...)
				}
				leaving.Rules = append(leaving.Rules, exposure.Rule{Match: from, Verdict: exposure.Return})
			}
		}
	}
	arriving.Rules = append(arriving.Rules, exposure.Rule{Match: in, Verdict: exposure.Drop, Why: "nobody has this address"})
	leaving.Rules = append(leaving.Rules, exposure.Rule{Match: out, Verdict: exposure.Drop, Why: "no public address"})
	node.Arriving, node.Leaving = []exposure.Chain{arriving}, []exposure.Chain{leaving}
	return node
}

// returned lets in what a subnet has a way back for. AWS's documentation calls a subnet without one private, but does not say that a
// packet that asks for no answer would not arrive.
func returned(r exposure.Rule, back, perhaps exposure.Ranges) []exposure.Rule {
	var out []exposure.Rule
	add := func(from exposure.Ranges, maybe bool, why string) {
		if len(from) > 0 {
			next := r
			next.Source, next.Maybe = from, r.Maybe || maybe
			next.Why += why
			out = append(out, next)
		}
	}
	add(back, false, "")
	add(perhaps.Minus(back), true, "")
	all := exposure.IPv4.Or(exposure.IPv6)
	r.Protocol = exposure.Numbers(0, exposure.TCP-1).Or(exposure.Numbers(exposure.TCP+1, 255))
	add(all.Minus(back).Minus(perhaps), true, "; there is no way back, but none is needed")
	return out
}

// back are the addresses that a subnet sends what is for them to a gateway, for sure and perhaps.
func (s *subnet) back(g gateway) (sure, perhaps exposure.Ranges) {
	var longer exposure.Ranges
	for bits := 128; bits >= 0; bits-- {
		var here exposure.Ranges
		for _, r := range s.routes {
			all := exposure.Prefixes(r.Prefix)
			switch {
			case r.Maybe && (r.to == g.id || r.to == ""):
				if bits == 0 {
					perhaps = perhaps.Or(all)
				}
			case r.Prefix.Bits() != bits || r.Maybe:
			default:
				here = here.Or(all)
				switch r.to {
				case g.id:
					sure = sure.Or(all.Minus(longer))
				case "":
					perhaps = perhaps.Or(all.Minus(longer))
				}
			}
		}
		longer = longer.Or(here)
	}
	return sure, perhaps
}

// vpcNode is between subnets, and lets in those of whom nothing is known.
func (n *network) vpcNode(v *vpc) exposure.Node {
	node := router("VPC "+v.name, v.router)
	chain := exposure.Chain{Name: "ways in", Accepts: true}
	for _, s := range n.in(v) {
		link(&node, s.name, between(v.name, s.name))
		for _, f := range n.facesOf(s) {
			for _, a := range f.addresses() {
				node.Routes = append(node.Routes, exposure.Route{Prefix: single(a), Attachment: s.name, Via: s.router})
			}
		}
	}
	for _, x := range n.strangers {
		if x.vpc != nil && x.vpc != v {
			continue
		}
		name := "beyond " + v.name + ": " + x.why
		address := n.standIn(false, "")
		n.graph.Nodes = append(n.graph.Nodes, exposure.Node{Name: name, Kind: exposure.Internet,
			Attachments: []exposure.Attachment{{Name: v.name, Network: name, Addresses: []netip.Addr{address}}}})
		link(&node, name, name)
		in := exposure.Match{In: []string{name}}
		chain.Rules = append(chain.Rules, exposure.Rule{Match: in, Verdict: exposure.Accept, Maybe: true, Why: x.why}, exposure.Rule{Match: in, Verdict: exposure.Drop})
		for _, all := range []netip.Prefix{anywhere4, anywhere6} {
			node.Routes = append(node.Routes, exposure.Route{Prefix: all, Attachment: name, Via: address, Maybe: true})
		}
	}
	if len(chain.Rules) > 0 {
		node.Arriving = []exposure.Chain{chain}
	}
	return node
}

// subnetNode has the routes of its table, asks its ACL, and of what comes from an interface in it that one's groups.
func (n *network) subnetNode(s *subnet) exposure.Node {
	node := router(s.name, s.router)
	const up = "the VPC"
	link(&node, up, between(s.vpc.name, s.name))
	beyond := []string{up}
	for _, g := range s.vpc.gateways {
		link(&node, g.name, between(g.name, s.name))
		beyond = append(beyond, g.name)
	}
	outward := exposure.Chain{Name: "security groups", Accepts: true}
	var links []string
	for _, f := range n.facesOf(nil) {
		if f.subnet.vpc != s.vpc {
			continue
		}
		for _, a := range f.addresses() {
			r := exposure.Route{Prefix: single(a), Attachment: up, Via: s.vpc.router}
			if f.subnet == s {
				r.Attachment, r.Via = f.link, netip.Addr{}
			}
			node.Routes = append(node.Routes, r)
		}
		if f.subnet != s {
			continue
		}
		link(&node, f.link, f.link)
		links = append(links, f.link)
		if in := (exposure.Match{In: []string{f.link}}); f.guarded() {
			outward.Rules = append(outward.Rules, exposure.Rule{Match: in, Verdict: exposure.Jump, Rules: n.chain(f, false)}, exposure.Rule{Match: in, Verdict: exposure.Drop})
		}
	}
	for _, p := range s.vpc.own {
		node.Routes = append(node.Routes, exposure.Route{Prefix: p, Attachment: up, Via: s.vpc.router})
	}
	for _, h := range n.hosts {
		if h.nat && slices.ContainsFunc(s.routes, func(r route) bool { return r.to == h.id || r.to == "" }) {
			link(&node, h.name, between(h.name, s.name))
			beyond = append(beyond, h.name)
		}
	}
	for _, r := range s.routes {
		node.Routes = append(node.Routes, n.leads(s, r, up)...)
	}
	node.Arriving = []exposure.Chain{outward}
	if s.acl != nil {
		node.Forwarding = []exposure.Chain{{Name: "network ACL", Accepts: true,
			Rules: append(s.acl.rules(true, beyond, links), s.acl.rules(false, links, beyond)...)}}
	}
	return node
}

// guarded says whether an interface has security groups at all.
func (f *face) guarded() bool { return len(f.groups) > 0 || f.open != "" }

// leads are the ways that a route may mean.
func (n *network) leads(s *subnet, r route, up string) []exposure.Route {
	var out []exposure.Route
	add := func(attachment string, via netip.Addr, maybe bool) {
		next := r.Route
		next.Attachment, next.Via, next.Maybe = attachment, via, r.Maybe || maybe
		out = append(out, next)
	}
	vague := r.to == ""
	for _, g := range s.vpc.gateways {
		if g.id == r.to {
			add(g.name, g.address, false)
		} else if vague {
			add(g.name, g.address, true)
		}
	}
	for _, h := range n.hosts {
		if h.nat && h.id == r.to {
			add(h.name, h.faces[0].four[0], false)
		} else if h.nat && vague {
			add(h.name, h.faces[0].four[0], true)
		}
	}
	if len(out) == 0 || vague {
		add(up, s.vpc.router, vague)
	}
	return out
}

// natNode has what comes to it from subnets seem to come from itself.
func (n *network) natNode(h *host) exposure.Node {
	f := h.faces[0]
	node := exposure.Node{Name: h.name, Kind: exposure.Router, Role: h.role, Forward4: true, Delivering: []exposure.Chain{{Name: "to itself"}},
		Attachments: []exposure.Attachment{{Name: f.link, Network: f.link, Addresses: f.four}},
		Routes:      []exposure.Route{{Prefix: anywhere4, Attachment: f.link, Via: f.subnet.router}}}
	for _, s := range n.subnets {
		if slices.ContainsFunc(s.routes, func(r route) bool { return r.to == h.id || r.to == "" }) {
			link(&node, s.name, between(h.name, s.name))
		}
	}
	node.Arriving = []exposure.Chain{{Name: "NAT", Rules: []exposure.Rule{
		{Match: exposure.Match{In: []string{f.link}}, Verdict: exposure.Drop, Why: "nobody comes in by a NAT gateway"},
		{Verdict: exposure.Translate, To: exposure.Rewrite{Source: exposure.Addresses(f.four...)}, Why: "NAT"}}}}
	for _, p := range f.public {
		node.Public = append(node.Public, p.address)
	}
	return node
}

// machineNode has been reached by what its groups let in.
func (n *network) machineNode(h *host) exposure.Node {
	node := exposure.Node{Name: h.name, Kind: exposure.Machine, Role: h.role}
	chain := exposure.Chain{Name: "security groups"}
	for _, f := range h.faces {
		node.Attachments = append(node.Attachments, exposure.Attachment{Name: f.link, Network: f.link, Addresses: f.addresses()})
		chain.Rules = append(chain.Rules, exposure.Rule{Match: exposure.Match{In: []string{f.link}}, Verdict: exposure.Jump, Rules: n.chain(f, true)})
		node.Public = append(node.Public, publicOf(f)...)
	}
	node.Delivering = []exposure.Chain{chain}
	return node
}

func publicOf(f *face) []netip.Addr {
	var out []netip.Addr
	for _, p := range f.public {
		out = append(out, p.address)
	}
	return append(out, f.six...)
}

// balancerNode hands on what its groups and listeners take.
func (n *network) balancerNode(h *host) exposure.Node {
	node := exposure.Node{Name: h.name, Kind: exposure.Router, Role: h.role, Forward4: true, Forward6: true}
	groups := exposure.Chain{Name: "security groups"}
	var own exposure.Ranges
	for _, f := range h.faces {
		node.Attachments = append(node.Attachments, exposure.Attachment{Name: f.link, Network: f.link, Addresses: f.addresses()})
		in := exposure.Match{In: []string{f.link}}
		if f.guarded() {
			groups.Rules = append(groups.Rules, exposure.Rule{Match: in, Verdict: exposure.Jump, Rules: n.chain(f, true)})
		} else {
			groups.Rules = append(groups.Rules, exposure.Rule{Match: in, Verdict: exposure.Accept, Why: "it has no security groups"})
		}
		for _, all := range []netip.Prefix{anywhere4, anywhere6} {
			node.Routes = append(node.Routes, exposure.Route{Prefix: all, Attachment: f.link, Via: f.subnet.router})
		}
		node.Public = append(node.Public, publicOf(f)...)
		own = own.Or(exposure.Addresses(f.addresses()...))
	}
	listeners := exposure.Chain{Name: "listeners"}
	for _, l := range h.balancer.listeners {
		listeners.Rules = append(listeners.Rules, l.rules(h.balancer, own)...)
	}
	node.Arriving = []exposure.Chain{groups, listeners}
	return node
}

// rules are what a listener does with what is for its balancer.
func (l *listener) rules(b *balancer, own exposure.Ranges) []exposure.Rule {
	match := exposure.Match{Destination: own, Protocol: l.protocol, Port: l.port}
	byPort := map[int][]target{}
	var ports []int
	for _, t := range l.targets {
		if byPort[t.port] == nil {
			ports = append(ports, t.port)
		}
		byPort[t.port] = append(byPort[t.port], t)
	}
	slices.Sort(ports)
	several := len(ports) > 1 || l.answers && len(ports) > 0
	var out []exposure.Rule
	for _, port := range ports {
		to := exposure.Rewrite{Source: own}
		if port > 0 {
			to.Port = exposure.Numbers(uint16(port), uint16(port))
		}
		keeps := false
		for _, t := range byPort[port] {
			to.Destination = to.Destination.Or(exposure.Addresses(t.addresses...))
			keeps = keeps || b.network && t.keeps != no
		}
		r := exposure.Rule{Match: match, Verdict: exposure.Translate, Maybe: l.maybe || several, To: to, Why: l.why}
		if keeps {
			with := r
			with.Maybe, with.To.Source = true, nil
			out = append(out, with)
		}
		out = append(out, r)
	}
	if l.answers || len(ports) == 0 {
		out = append(out, exposure.Rule{Match: match, Verdict: exposure.Accept, Maybe: l.maybe, Why: l.why + " answers"})
	}
	return out
}
