package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// What follows says of one packet where it gets to, as one would with AWS's documentation and the resources at hand. It knows nothing of
// graphs or of sets, and of no resource that the examples and their mutations do not have.

// world is the resources by type, with what the simulation asks of them.
type world map[string][]symbol.Resource

func worldOf(all []symbol.Resource) world {
	w := world{}
	for _, r := range all {
		if !r.Data {
			w[r.Type] = append(w[r.Type], r)
		}
	}
	return w
}

func get(r symbol.Resource, name string) string {
	if s, ok := r.Values[name].(string); ok {
		return s
	}
	if r.Values[name] == nil {
		return ""
	}
	return fmt.Sprint(r.Values[name])
}

func list(v any) []string {
	var out []string
	all, _ := v.([]any)
	for _, x := range all {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func inner(v any, name string) any {
	all, _ := v.([]any)
	if len(all) == 0 {
		return nil
	}
	m, _ := all[0].(map[string]any)
	return m[name]
}

// nic is somewhere that a packet arrives: of a machine, of a group's member, or of a load balancer.
type nic struct {
	host, subnet string
	groups       []string
	balancer     string // its arn
}

// door is a public address, by name, and the nic that it leads to.
type door struct {
	name string
	nic
}

// unset says whether an attribute is left to AWS, which a plan says by its own name.
func unset(r symbol.Resource, name string) bool {
	v := get(r, name)
	return v == "" || strings.HasPrefix(v, r.Address+"#")
}

func (w world) hosts() map[string]nic { // by id: of an instance, or of a group, in its first subnet
	out := map[string]nic{}
	for _, r := range w["aws_instance"] {
		for _, e := range w["aws_network_interface"] {
			if get(e, "id") == inner(r.Values["primary_network_interface"], "network_interface_id") {
				out[get(r, "id")] = nic{machineName(r), get(e, "subnet_id"), list(e.Values["security_groups"]), ""}
			}
		}
	}
	for _, r := range w["aws_autoscaling_group"] {
		for _, t := range w["aws_launch_template"] {
			if get(t, "id") == inner(r.Values["launch_template"], "id") {
				for _, s := range list(r.Values["vpc_zone_identifier"])[:1] {
					out[get(r, "id")] = nic{fmt.Sprint(r.Key), s, list(inner(t.Values["network_interfaces"], "security_groups")), ""}
				}
			}
		}
	}
	return out
}

func machineName(r symbol.Resource) string {
	tags, _ := r.Values["tags"].(map[string]any)
	return fmt.Sprint(tags["ashlar.dev/machine"])
}

// doors are all public addresses.
func (w world) doors(nameOf func(subnet string) string) []door {
	var out []door
	for _, e := range w["aws_eip"] {
		for id, n := range w.hosts() {
			for _, f := range w["aws_network_interface"] {
				if get(f, "id") == get(e, "network_interface") && w.holds(id, get(f, "id")) {
					out = append(out, door{n.host + "'s address", n})
				}
			}
		}
	}
	for _, g := range w["aws_autoscaling_group"] {
		for _, t := range w["aws_launch_template"] {
			if get(t, "id") != inner(g.Values["launch_template"], "id") {
				continue
			}
			subnets := list(g.Values["vpc_zone_identifier"])
			for _, s := range subnets {
				flag := fmt.Sprint(inner(t.Values["network_interfaces"], "associate_public_ip_address"))
				if flag == "true" || flag == "<nil>" && w.maps(s) {
					name := fmt.Sprint(g.Key) + "'s address"
					if len(subnets) > 1 {
						name = fmt.Sprint(g.Key) + " in " + nameOf(s)
					}
					out = append(out, door{name, nic{fmt.Sprint(g.Key), s, list(inner(t.Values["network_interfaces"], "security_groups")), ""}})
				}
			}
		}
	}
	for _, b := range w["aws_lb"] {
		if get(b, "internal") == "true" {
			continue
		}
		subnets := list(b.Values["subnets"])
		for _, s := range subnets {
			name := get(b, "name") + "'s address"
			if len(subnets) > 1 {
				name = get(b, "name") + " in " + nameOf(s)
			}
			out = append(out, door{name, nic{get(b, "name"), s, list(b.Values["security_groups"]), get(b, "arn")}})
		}
	}
	return out
}

func (w world) holds(instance, face string) bool {
	for _, r := range w["aws_instance"] {
		if get(r, "id") == instance && inner(r.Values["primary_network_interface"], "network_interface_id") == face {
			return true
		}
	}
	return false
}

func (w world) maps(subnet string) bool {
	for _, s := range w["aws_subnet"] {
		if get(s, "id") == subnet {
			return get(s, "map_public_ip_on_launch") == "true"
		}
	}
	return true // nobody knows
}

// back says whether a subnet sends what is for an address to an internet gateway.
func (w world) back(subnet string, to netip.Addr) bool {
	table, vpc := "", ""
	known := false
	for _, s := range w["aws_subnet"] {
		if get(s, "id") == subnet {
			known, vpc = true, get(s, "vpc_id")
		}
	}
	for _, a := range w["aws_route_table_association"] {
		if get(a, "subnet_id") == subnet {
			table = get(a, "route_table_id")
		}
	}
	if !known && table == "" {
		return true // nobody knows
	}
	if table == "" {
		for _, v := range w["aws_vpc"] {
			if get(v, "id") == vpc {
				table = get(v, "default_route_table_id")
			}
		}
	}
	best, by := -1, ""
	for _, r := range w["aws_route"] {
		p, err := netip.ParsePrefix(get(r, "destination_cidr_block"))
		if get(r, "route_table_id") == table && err == nil && p.Contains(to) && p.Bits() > best {
			best, by = p.Bits(), get(r, "gateway_id")
			if unset(r, "gateway_id") {
				by = ""
			}
		}
	}
	for _, g := range w["aws_internet_gateway"] {
		if by != "" && get(g, "id") == by {
			return true
		}
	}
	return false
}

// allowed says whether one of some groups has a rule for a peer: an address, or somebody of other groups.
func (w world) allowed(kind string, groups []string, peer netip.Addr, of []string, protocol string, port int) bool {
	for _, r := range w["aws_vpc_security_group_"+kind+"_rule"] {
		if !slices.Contains(groups, get(r, "security_group_id")) {
			continue
		}
		if p := get(r, "ip_protocol"); p != "-1" && p != protocol {
			continue
		} else if p != "-1" {
			var from, to int
			_, _ = fmt.Sscan(get(r, "from_port"), &from)
			_, _ = fmt.Sscan(get(r, "to_port"), &to)
			if port < from || port > to {
				continue
			}
		}
		p, err := netip.ParsePrefix(get(r, "cidr_ipv4"))
		if err == nil && p.Contains(peer) || slices.Contains(of, get(r, "referenced_security_group_id")) {
			return true
		}
	}
	return false
}

// arrives says where a packet from outside gets to, each as a host and a port.
func (w world) arrives(from netip.Addr, at door, protocol string, port int) map[string]bool {
	out := map[string]bool{}
	if protocol == "tcp" && !w.back(at.subnet, from) {
		return out // no connection comes about without an answer
	}
	if !w.allowed("ingress", at.groups, from, nil, protocol, port) {
		return out
	}
	if at.balancer == "" {
		out[fmt.Sprint(at.host, ":", port)] = true
		return out
	}
	for _, l := range w["aws_lb_listener"] {
		kind := map[string]string{"HTTP": "tcp", "HTTPS": "tcp", "TCP": "tcp", "TLS": "tcp", "UDP": "udp"}[get(l, "protocol")]
		if get(l, "load_balancer_arn") != at.balancer || kind != protocol || get(l, "port") != fmt.Sprint(port) {
			continue
		}
		arn := fmt.Sprint(inner(l.Values["default_action"], "target_group_arn"))
		found := false
		for _, t := range w["aws_lb_target_group"] {
			if get(t, "arn") != arn {
				continue
			}
			for _, id := range w.targets(arn) {
				found = true
				var to int
				_, _ = fmt.Sscan(get(t, "port"), &to)
				target := w.hosts()[id]
				here := netip.MustParseAddr("10.0.0.250") // in the VPC: no rule is about its addresses, but for those that are about all
				own := w.allowed("egress", at.groups, here, target.groups, protocol, to) && w.allowed("ingress", target.groups, here, at.groups, protocol, to)
				kept := get(l, "protocol") == "TCP" && get(t, "preserve_client_ip") != "false" && w.allowed("egress", at.groups, here, target.groups, protocol, to) &&
					w.allowed("ingress", target.groups, from, nil, protocol, to)
				if own || kept {
					out[fmt.Sprint(target.host, ":", to)] = true
				}
			}
		}
		if !found {
			out[fmt.Sprint(at.host, ":", port)] = true // it answers itself
		}
	}
	return out
}

func (w world) targets(arn string) []string {
	var out []string
	for _, a := range w["aws_lb_target_group_attachment"] {
		if get(a, "target_group_arn") == arn {
			out = append(out, get(a, "target_id"))
		}
	}
	for _, a := range w["aws_autoscaling_attachment"] {
		for _, g := range w["aws_autoscaling_group"] {
			if get(a, "lb_target_group_arn") == arn && get(g, "name") == get(a, "autoscaling_group_name") {
				out = append(out, get(g, "id"))
			}
		}
	}
	return out
}
