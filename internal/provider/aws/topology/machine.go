package topology

import (
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// host is what has interfaces: a machine, all machines of a group, which are alike, or a load balancer.
type host struct {
	id, name, role string
	faces          []*face
	balancer       *balancer
	nat            bool
}

// face is an interface of a host.
type face struct {
	id, link string
	host     *host
	subnet   *subnet
	four     []netip.Addr
	six      []netip.Addr
	groups   []string
	open     string // why its groups are not known
	public   []public
}

// public is an address that the internet knows a face by.
type public struct {
	address netip.Addr
	to      netip.Addr
	maybe   bool
	why     string
}

func (n *network) host(id, name string) *host {
	h := &host{id: id, name: name}
	n.hosts = append(n.hosts, h)
	return h
}

// readMachines reads interfaces, instances and groups of them.
func (n *network) readMachines() {
	faces := map[string]*face{} // of interfaces that are made beside machines
	for _, p := range n.parts("aws_network_interface") {
		f := n.face(p, n.subnet(p.text("subnet_id"), nil), "security_groups", no)
		f.id = p.text("id")
		faces[f.id] = f
	}
	for _, p := range n.parts("aws_instance") {
		n.instance(p, faces)
	}
	for _, p := range n.parts("aws_autoscaling_group") {
		n.scaled(p)
	}
	for _, p := range append(n.parts("aws_network_interface_attachment"), n.parts("aws_network_interface")...) {
		if p.text("instance_id") != "" {
			n.attach(faces[p.text("network_interface_id")], p.text("instance_id"))
		}
		all, _ := p.parts("attachment")
		for _, a := range all {
			n.attach(faces[p.text("id")], a.text("instance"))
		}
	}
	for _, p := range n.parts("aws_network_interface") {
		if f := faces[p.text("id")]; f.host == nil { // whoever gets it
			n.host(f.id, n.labels[p.at]).add(f)
		}
	}
	for _, p := range n.parts("aws_network_interface_sg_attachment") {
		for _, h := range n.hosts {
			for _, f := range h.faces {
				if f.id == p.text("network_interface_id") || p.vague("network_interface_id") || h.id == p.text("network_interface_id") {
					f.groups = append(f.groups, p.text("security_group_id"))
				}
			}
		}
	}
	for _, h := range n.hosts {
		if len(h.faces) > 0 && h.role == "" {
			h.role = n.role(h.faces[0].groups)
		}
	}
}

func (h *host) add(f *face) {
	f.host = h
	f.link = h.name + " in " + f.subnet.name
	for _, other := range h.faces {
		if other.link == f.link {
			f.link += " (" + f.id + ")"
		}
	}
	h.faces = append(h.faces, f)
}

func (n *network) attach(f *face, instance string) {
	for _, h := range n.hosts {
		if h.id == instance && f != nil && f.host == nil {
			h.add(f)
		}
	}
}

// face reads the addresses and groups of an interface.
func (n *network) face(p part, s *subnet, groups string, public truth) *face {
	f := &face{subnet: s}
	for _, name := range []string{"private_ip", "private_ips"} {
		all, _ := p.several(name)
		for _, text := range all {
			if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(f.four, a) {
				f.four = append(f.four, a)
				s.given[a] = true
			}
		}
	}
	if len(f.four) == 0 {
		f.four = []netip.Addr{n.give(s)}
	}
	n.six(f, p)
	var sure bool
	if f.groups, sure = p.several(groups); !sure {
		f.open = p.at + ": its security groups are not known"
	}
	if len(f.groups) == 0 && sure {
		f.groups, f.open = n.standard(s.vpc)
	}
	if public != no {
		f.public = append(f.public, n.published(f, public, p.at))
	}
	return f
}

// published is an address that AWS gives to a face, if it does.
func (n *network) published(f *face, how truth, why string) public {
	return public{to: f.four[0], maybe: how == perhaps, why: why}
}

// six gives a face the addresses of IPv6 that it has or will have.
func (n *network) six(f *face, p part) {
	all, sure := p.texts("ipv6_addresses")
	for _, text := range all {
		if a, err := netip.ParseAddr(text); err == nil {
			f.six = append(f.six, a)
		}
	}
	count, counted := p.number("ipv6_address_count")
	wanted := !sure || counted && count > 0 || p.vague("ipv6_address_count") || len(all) > len(f.six)
	if len(f.six) == 0 && (wanted || f.subnet.mapsV != no) {
		f.six = []netip.Addr{n.standIn(true, "")}
	}
}

// standard is the group of whatever names none.
func (n *network) standard(v *vpc) (groups []string, open string) {
	for _, p := range n.parts("aws_default_security_group") {
		if p.text("vpc_id") == v.id {
			return []string{p.text("id")}, ""
		}
	}
	for _, p := range n.parts("aws_vpc") {
		if id := p.text("default_security_group_id"); p.text("id") == v.id && id != "" {
			// AWS makes it, for its own members alone.
			g := n.group(id)
			if len(g.in) == 0 {
				g.in = []groupRule{{groups: []string{id}, why: "the default security group of " + v.name}}
				g.out = []groupRule{{peers: exposure.Prefixes(anywhere4, anywhere6), why: "the default security group of " + v.name}}
			}
			return []string{id}, ""
		}
	}
	return nil, "the default security group of " + v.name + " is not known"
}

func (n *network) instance(p part, faces map[string]*face) {
	h := n.host(p.text("id"), n.labels[p.at])
	h.role = p.tag("ashlar.dev/role")
	template, of := n.template(p)
	if of {
		for name, v := range template.values { // what the instance does not say itself
			if p.values[name] == nil || p.left(name) && name != "id" {
				p.values = withValue(p.values, name, v)
			}
		}
	}
	beside := 0
	for _, kind := range []string{"primary_network_interface", "network_interface"} {
		blocks, sure := p.parts(kind)
		for _, b := range blocks {
			if f := faces[b.text("network_interface_id")]; f != nil {
				if f.host == nil {
					h.add(f)
				}
				beside++
			} else if !b.left("network_interface_id") {
				sure = false
			}
		}
		if !sure {
			beside++
			f := n.face(part{at: p.at, values: map[string]any{}}, n.subnet(p.text("subnet_id"), nil), "none", perhaps)
			f.open = p.at + ": its network interface is not known"
			h.add(f)
		}
	}
	if beside == 0 {
		s := n.subnet(p.text("subnet_id"), nil)
		f := n.face(p, s, "vpc_security_group_ids", p.truth("associate_public_ip_address", s.maps))
		if names, sure := p.texts("security_groups"); p.written == nil || p.written("security_groups") && (len(names) > 0 || !sure) {
			if ids, _ := p.texts("vpc_security_group_ids"); len(ids) == 0 {
				f.open = p.at + ": which security groups its names mean is not known"
			}
		}
		h.add(f)
	}
}

// with is a copy of a map with one thing more.
func withValue(values map[string]any, name string, v any) map[string]any {
	out := map[string]any{}
	for k, x := range values {
		out[k] = x
	}
	out[name] = v
	return out
}

// template is the launch template that a resource names, if it is made here.
func (n *network) template(p part) (part, bool) {
	b, _ := p.block("launch_template")
	return n.templateOf(b, "id", "name")
}

func (n *network) templateOf(b part, id, name string) (part, bool) {
	for _, t := range n.parts("aws_launch_template") {
		if want := b.text(id); want != "" && want == t.text("id") {
			return t, true
		}
		if want := b.text(name); want != "" && want == t.text("name") {
			return t, true
		}
	}
	return part{}, false
}

// scaled is a group, as one machine with an interface in each of its subnets.
func (n *network) scaled(p part) {
	h := n.host(p.text("id"), n.labels[p.at])
	subnets, sure := p.texts("vpc_zone_identifier")
	if !sure || len(subnets) == 0 {
		subnets = append(subnets, "")
	}
	template, of := n.template(p)
	if mixed, _ := p.block("mixed_instances_policy"); mixed.values != nil {
		inner, _ := mixed.block("launch_template")
		spec, _ := inner.block("launch_template_specification")
		template, of = n.templateOf(spec, "launch_template_id", "launch_template_name")
		overrides, known := inner.parts("override")
		for _, o := range overrides {
			if own, _ := o.parts("launch_template_specification"); len(own) > 0 || !known {
				of = false // members of other kinds, too
			}
		}
	}
	if of {
		h.role = tagged(template, "ashlar.dev/role")
	}
	for _, id := range subnets {
		s := n.subnet(id, nil)
		if !of {
			f := n.face(part{at: p.at, values: map[string]any{}}, s, "none", perhaps)
			f.open = p.at + ": its launch template is not known"
			h.add(f)
			continue
		}
		own, known := template.parts("network_interfaces")
		for i, face := range own {
			f := n.face(part{at: template.at, values: face.values}, s, "security_groups", face.truth("associate_public_ip_address", map[bool]truth{true: s.maps, false: no}[i == 0]))
			if len(template.values) > 0 && face.values["security_groups"] == nil {
				if ids, sure := template.texts("vpc_security_group_ids"); len(ids) > 0 && sure {
					f.groups, f.open = ids, ""
				}
			}
			h.add(f)
		}
		if len(own) == 0 {
			f := n.face(template, s, "vpc_security_group_ids", s.maps)
			if !known {
				f.open = template.at + ": its network interfaces are not known"
				f.public = []public{n.published(f, perhaps, template.at)}
			}
			h.add(f)
		}
	}
}

// tagged is a tag that a template gives to its machines.
func tagged(template part, name string) string {
	all, _ := template.parts("tag_specifications")
	for _, t := range all {
		if t.text("resource_type") == "instance" && t.tag(name) != "" {
			return t.tag(name)
		}
	}
	return ""
}

// readAddresses gives faces the elastic addresses that are theirs, and all public ones a name until they have one.
func (n *network) readAddresses() {
	addresses := map[string]part{}
	for _, p := range n.parts("aws_eip") {
		addresses[p.text("id")] = p
		n.elastic(p, p)
	}
	for _, p := range n.parts("aws_nat_gateway") {
		for _, h := range n.hosts {
			if e, ok := addresses[p.text("allocation_id")]; h.nat && h.id == p.text("id") && p.text("connectivity_type") != "private" {
				f := h.faces[0]
				f.public = []public{{address: e.address("public_ip"), to: f.four[0], maybe: !ok, why: p.at}}
			}
		}
	}
	for _, p := range n.parts("aws_eip_association") {
		if p.vague("allocation_id") {
			n.elastic(part{at: p.at, values: map[string]any{"instance": symbol.Unknown{}}}, p)
			continue
		}
		e, ok := addresses[p.text("allocation_id")]
		if !ok {
			e = part{at: p.at, values: map[string]any{}}
		}
		n.elastic(part{at: e.at, values: map[string]any{"public_ip": e.values["public_ip"], "instance": p.values["instance_id"], "tags": e.values["tags"],
			"network_interface": p.values["network_interface_id"], "associate_with_private_ip": p.values["private_ip_address"]}}, p)
	}
	for _, h := range n.hosts {
		for _, f := range h.faces {
			for i := range f.public {
				if a := &f.public[i].address; !a.IsValid() {
					name := h.name + "'s address"
					if len(h.faces) > 1 {
						name = h.name + " in " + f.subnet.name
					}
					*a = n.standIn(false, name)
				}
			}
		}
	}
}

func (n *network) elastic(eip, by part) {
	vague := eip.vague("instance") || eip.vague("network_interface")
	instance, face := eip.text("instance"), eip.text("network_interface")
	if eip.left("instance") {
		instance = ""
	}
	if eip.left("network_interface") {
		face = ""
	}
	for _, h := range n.hosts {
		for i, f := range h.faces {
			its := face != "" && f.id == face || face == "" && instance != "" && h.id == instance && i == 0
			if !its && !vague {
				continue
			}
			to := f.four[0]
			if a := eip.address("associate_with_private_ip"); slices.Contains(f.four, a) {
				to = a
			}
			f.public = append(f.public, public{address: eip.address("public_ip"), to: to, maybe: !its, why: by.at})
		}
	}
}
