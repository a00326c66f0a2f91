package topology

import (
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// balancer is what makes a host a load balancer.
type balancer struct {
	arn       string
	network   bool // of the kind that hands on what it gets
	listeners []listener
}

// listener takes connections, and opens others to its targets; or answers itself.
type listener struct {
	protocol, port exposure.Ranges
	targets        []target
	answers        bool
	maybe          bool
	why            string
}

// target is where connections are handed on to.
type target struct {
	addresses []netip.Addr
	port      int
	keeps     truth // the address of whoever opened them
}

func (n *network) readBalancers() {
	for _, p := range n.parts("aws_lb") {
		n.balancer(p)
	}
}

func (n *network) balancer(p part) {
	h := n.host(p.text("arn"), n.labels[p.at])
	kind := p.text("load_balancer_type")
	h.balancer = &balancer{arn: p.text("arn"), network: kind != "" && kind != "application"}
	public := map[truth]truth{yes: no, perhaps: perhaps, no: yes}[p.truth("internal", no)]
	subnets, sure := p.texts("subnets")
	mapped, known := p.parts("subnet_mapping")
	for _, m := range mapped {
		if id := m.text("subnet_id"); id != "" && !slices.Contains(subnets, id) {
			subnets = append(subnets, id)
		}
	}
	if len(subnets) == 0 || !sure || !known {
		subnets = append(subnets, "")
	}
	for _, id := range subnets {
		s := n.subnet(id, nil)
		values := map[string]any{"security_groups": p.values["security_groups"]}
		if p.text("ip_address_type") != "ipv4" && !p.left("ip_address_type") {
			values["ipv6_address_count"] = "1"
		}
		f := n.face(part{at: p.at, values: values}, s, "security_groups", public)
		if h.balancer.network && p.left("security_groups") {
			f.groups, f.open = nil, "" // one that asks nobody
		}
		if p.text("ip_address_type") == "ipv4" || p.left("ip_address_type") {
			f.six = nil
		}
		h.add(f)
	}
	if len(h.faces) > 0 {
		h.role = n.role(h.faces[0].groups)
	}
	h.balancer.listeners = n.listeners(h.balancer)
}

// listeners are those of a balancer, and of those whose balancer nobody knows, perhaps.
func (n *network) listeners(b *balancer) []listener {
	var out []listener
	for _, p := range n.parts("aws_lb_listener") {
		if !p.vague("load_balancer_arn") && p.text("load_balancer_arn") != b.arn {
			continue
		}
		l := listener{why: p.at, maybe: p.vague("load_balancer_arn")}
		switch kind := p.text("protocol"); {
		case b.network && (kind == "TCP" || kind == "TLS"), !b.network && !p.vague("protocol"):
			l.protocol = exposure.Numbers(exposure.TCP, exposure.TCP)
		case kind == "UDP" || kind == "QUIC":
			l.protocol = exposure.Numbers(exposure.UDP, exposure.UDP)
		case kind == "TCP_UDP" || kind == "TCP_QUIC":
			l.protocol = exposure.Numbers(exposure.TCP, exposure.TCP).Or(exposure.Numbers(exposure.UDP, exposure.UDP))
		}
		if port, ok := p.number("port"); ok {
			l.port = exposure.Numbers(uint16(port), uint16(port))
		} else if !p.left("port") {
			l.maybe = true
		}
		n.actions(&l, p, "default_action")
		for _, r := range n.parts("aws_lb_listener_rule") {
			if r.vague("listener_arn") || r.text("listener_arn") == p.text("arn") || r.text("listener_arn") == p.text("id") {
				n.actions(&l, r, "action")
			}
		}
		out = append(out, l)
	}
	return out
}

// actions are what a listener does with a connection.
func (n *network) actions(l *listener, p part, kind string) {
	all, sure := p.parts(kind)
	l.answers = l.answers || !sure || len(all) == 0
	for _, a := range all {
		groups := []string{}
		if !a.left("target_group_arn") {
			groups = append(groups, a.text("target_group_arn"))
		}
		forward, known := a.block("forward")
		weighted, all := forward.parts("target_group")
		for _, g := range weighted {
			groups = append(groups, g.text("arn"))
		}
		l.answers = l.answers || !known || !all || len(groups) == 0
		for _, arn := range groups {
			found, sure := n.targets(arn)
			l.targets = append(l.targets, found...)
			l.answers = l.answers || !sure || len(found) == 0
		}
	}
}

// targets are the members of a target group.
func (n *network) targets(arn string) (all []target, sure bool) {
	var group part
	for _, p := range n.parts("aws_lb_target_group") {
		if p.text("arn") == arn || p.text("id") == arn {
			group = p
		}
	}
	if group.values == nil || arn == "" {
		return nil, false
	}
	sure = true
	port, _ := group.number("port")
	keeps := group.truth("preserve_client_ip", perhaps)
	add := func(id string, port int) {
		found := target{port: port, keeps: keeps}
		if a, err := netip.ParseAddr(id); err == nil {
			found.addresses = []netip.Addr{a}
		}
		for _, h := range n.hosts {
			if h.id == id && id != "" && h.balancer == nil {
				for _, f := range h.faces {
					found.addresses = append(found.addresses, f.four[0])
				}
			}
		}
		if sure = sure && len(found.addresses) > 0; len(found.addresses) > 0 {
			all = append(all, found)
		}
	}
	mine := func(p part, name string) bool { return p.vague(name) || p.text(name) == arn }
	for _, p := range n.parts("aws_lb_target_group_attachment") {
		if mine(p, "target_group_arn") {
			own := port
			if n, ok := p.number("port"); ok {
				own = n
			}
			add(p.text("target_id"), own)
		}
	}
	for _, p := range n.parts("aws_autoscaling_group") {
		arns, known := p.texts("target_group_arns")
		sources, all := p.parts("traffic_source")
		for _, s := range sources {
			arns = append(arns, s.text("identifier"))
		}
		if p.written != nil && !p.written("target_group_arns") && !p.written("traffic_source") {
			arns, known, all = nil, true, true // AWS says what others attach
		}
		if slices.Contains(arns, arn) || !known || !all {
			add(p.text("id"), port)
		}
	}
	for kind, names := range map[string][2]string{"aws_autoscaling_attachment": {"autoscaling_group_name", "lb_target_group_arn"}} {
		for _, p := range n.parts(kind) {
			if mine(p, names[1]) {
				add(n.scaledBy(p.text(names[0])), port)
			}
		}
	}
	for _, p := range n.parts("aws_autoscaling_traffic_source_attachment") {
		source, _ := p.block("traffic_source")
		if mine(source, "identifier") {
			add(n.scaledBy(p.text("autoscaling_group_name")), port)
		}
	}
	return all, sure
}

// scaledBy is the id of an autoscaling group with a name.
func (n *network) scaledBy(name string) string {
	for _, p := range n.parts("aws_autoscaling_group") {
		if p.text("name") == name || p.text("id") == name {
			return p.text("id")
		}
	}
	return ""
}
