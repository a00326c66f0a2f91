package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// mutant is the resources of a plan with one thing flipped.
type mutant struct {
	name string
	all  []symbol.Resource
}

// mutants flip every rule, route, association, flag of public addresses, elastic address and load balancer, one at a time.
func mutants(all []symbol.Resource) []mutant {
	var out []mutant
	ids := func(kind string) []string {
		var out []string
		for _, r := range all {
			if r.Type == kind && !r.Data {
				out = append(out, r.Values["id"].(string))
			}
		}
		return out
	}
	groups, tables, faces, gateways, subnets := ids("aws_security_group"), ids("aws_route_table"), ids("aws_network_interface"), ids("aws_internet_gateway"), ids("aws_subnet")
	for i, r := range all {
		without := func() {
			out = append(out, mutant{"without " + r.Address, slices.Delete(slices.Clone(all), i, i+1)})
		}
		set := func(pairs ...any) {
			other := slices.Clone(all)
			other[i].Values = maps.Clone(r.Values)
			for n := 0; n < len(pairs); n += 2 {
				other[i].Values[pairs[n].(string)] = pairs[n+1]
			}
			out = append(out, mutant{fmt.Sprint(r.Address, " with ", pairs), other})
		}
		add := func(address string, values map[string]any, kind string) {
			out = append(out, mutant{"with " + address, append(slices.Clone(all), symbol.Resource{Address: address, Type: kind, Values: values})})
		}
		within := func(block, name string, v any) {
			list := slices.Clone(r.Values[block].([]any))
			list[0] = withValue(list[0].(map[string]any), name, v)
			set(block, list)
		}
		if r.Data {
			continue
		}
		switch r.Type {
		case "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule":
			without()
			set("cidr_ipv4", "0.0.0.0/0", "referenced_security_group_id", nil)
			set("from_port", 443, "to_port", 443)
			set("from_port", 0, "to_port", 65535)
			set("ip_protocol", "-1", "from_port", nil, "to_port", nil)
			set("ip_protocol", "udp")
			for _, g := range groups {
				if g != r.Values["security_group_id"] {
					set("security_group_id", g)
				}
			}
		case "aws_security_group":
			for _, port := range []int{22, 8200} {
				add(fmt.Sprintf("a rule for %d of everybody on %s", port, r.Address), map[string]any{"id": "new", "security_group_id": r.Values["id"],
					"cidr_ipv4": "0.0.0.0/0", "ip_protocol": "tcp", "from_port": port, "to_port": port}, "aws_vpc_security_group_ingress_rule")
			}
		case "aws_route":
			without()
			set("destination_cidr_block", "198.51.100.0/25")
			for _, t := range tables {
				set("route_table_id", t)
			}
			for _, g := range gateways {
				set("gateway_id", g, "nat_gateway_id", nil)
			}
		case "aws_route_table_association":
			without()
			for _, t := range tables {
				set("route_table_id", t)
			}
		case "aws_route_table":
			for _, g := range gateways {
				add("a route to the internet in "+r.Address, map[string]any{"id": "new", "route_table_id": r.Values["id"], "destination_cidr_block": "0.0.0.0/1", "gateway_id": g}, "aws_route")
			}
		case "aws_internet_gateway", "aws_nat_gateway", "aws_autoscaling_attachment", "aws_lb_target_group_attachment", "aws_lb_listener":
			without()
			if r.Type == "aws_lb_listener" {
				set("port", 80)
				if r.Values["protocol"] == "TCP" {
					set("protocol", "UDP")
				}
			}
		case "aws_eip":
			without()
			for _, f := range faces {
				set("network_interface", f)
			}
		case "aws_subnet":
			set("map_public_ip_on_launch", true)
		case "aws_network_interface":
			for _, g := range groups {
				set("security_groups", []any{g})
			}
			for _, s := range subnets {
				set("subnet_id", s)
			}
		case "aws_launch_template":
			within("network_interfaces", "associate_public_ip_address", "true")
			within("network_interfaces", "associate_public_ip_address", nil)
			for _, g := range groups {
				within("network_interfaces", "security_groups", []any{g})
			}
		case "aws_lb":
			without()
			set("internal", r.Values["internal"] != true)
			for _, g := range groups {
				set("security_groups", []any{g})
			}
			if len(subnets) > 0 {
				set("subnets", []any{subnets[0]})
			}
		case "aws_lb_target_group":
			set("port", 8200)
			set("port", 22)
		}
	}
	return out
}

var (
	mutationSources = []string{"198.51.100.7", "192.0.2.9", "203.0.113.5"}
	mutationPorts   = []int{22, 80, 443, 6443, 8200, 8443, 30443}
)

// cells are what is reached by each packet, as the simulation says.
func simulated(all []symbol.Resource) map[string]bool {
	w := worldOf(all)
	names := map[string]string{}
	for _, r := range w["aws_subnet"] {
		tags, _ := r.Values["tags"].(map[string]any)
		names[get(r, "id")] = fmt.Sprint(tags["Name"])
	}
	nameOf := func(id string) string {
		if n := names[id]; n != "" {
			return n
		}
		return id
	}
	out := map[string]bool{}
	for _, d := range w.doors(nameOf) {
		for _, from := range mutationSources {
			for _, protocol := range []string{"tcp", "udp"} {
				for _, port := range mutationPorts {
					for to := range w.arrives(netip.MustParseAddr(from), d, protocol, port) {
						out[fmt.Sprintf("%s → %s %s %d reaches %s", from, d.name, protocol, port, to)] = true
					}
				}
			}
		}
	}
	return out
}

// computed is the same, as the graph says, with what may be.
func computed(all []symbol.Resource) map[string]bool {
	g := Of(all)
	out := map[string]bool{}
	s := exposure.Reach(g, exposure.IPv4)
	for _, n := range g.Nodes {
		for _, to := range n.Public {
			for _, from := range mutationSources {
				for _, protocol := range []uint8{exposure.TCP, exposure.UDP} {
					for _, port := range mutationPorts {
						p := exposure.Packet{Source: netip.MustParseAddr(from), Destination: to, Protocol: protocol, Port: uint16(port)}
						for _, e := range s {
							if e.Packets.Contains(p) {
								at := e.Port
								if at == 0 {
									at = uint16(port)
								}
								out[fmt.Sprintf("%s → %s %s %d reaches %s:%d", from, g.Text(to), map[uint8]string{6: "tcp", 17: "udp"}[protocol], port, e.Node, at)] = true
							}
						}
					}
				}
			}
		}
	}
	return out
}

// TestMutations: of every change to the network of the examples, the sets say just what the simulation of every packet says.
func TestMutations(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			all := planned(t, name)
			before := simulated(all)
			if now := computed(all); !maps.Equal(before, now) || len(before) == 0 {
				t.Fatalf("as planned:\n%s", differences(before, now))
			}
			flips, cells := 0, 0
			changes := mutants(all)
			for _, m := range changes {
				want, got := simulated(m.all), computed(m.all)
				if !maps.Equal(want, got) {
					t.Errorf("%s:\n%s", m.name, differences(want, got))
				}
				if !maps.Equal(want, before) {
					flips++
				}
				for c := range want {
					if !before[c] {
						cells++
					}
				}
				for c := range before {
					if !want[c] {
						cells++
					}
				}
			}
			t.Logf("%d changes; %d of them change what is reached, by %d cells of %d packets; the sets and the simulation agree on all", len(changes), flips, cells,
				len(mutationSources)*2*len(mutationPorts))
			if flips == 0 {
				t.Error("no change makes a difference")
			}
		})
	}
}

func differences(want, got map[string]bool) string {
	var out []string
	for c := range want {
		if !got[c] {
			out = append(out, "  only the simulation: "+c)
		}
	}
	for c := range got {
		if !want[c] {
			out = append(out, "  only the sets: "+c)
		}
	}
	slices.Sort(out)
	if len(out) > 12 {
		out = append(out[:12], fmt.Sprintf("  and %d more", len(out)-12))
	}
	return strings.Join(out, "\n")
}
