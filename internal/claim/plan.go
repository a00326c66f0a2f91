package claim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// Where machines are made by a plan, what their network is by construction is proved over that: every packet that there can be, instead
// of those that a probe sends. A live cluster cannot be attacked from everywhere there: nobody has an address next to every machine.

// proved has a proof make evidence of the network as it was planned.
func (t *Target) proved(ctx context.Context, proof func(*Target, *exposure.Graph) []Evidence) ([]Evidence, error) {
	g, err := t.Planned(ctx)
	if err != nil {
		return nil, err
	}
	evidence := proof(t, g)
	for i := range evidence {
		evidence[i].Kind = Planned
	}
	for _, what := range g.Assumed {
		evidence = append(evidence, Evidence{Attempt: "take for granted what is not of the plan", From: "the plan", As: "nobody", Want: Allowed, Got: Allowed,
			Answer: what, Kind: Planned, Notice: true})
	}
	return evidence, nil
}

func provedSurface(t *Target, g *exposure.Graph) []Evidence {
	c := exposure.Compare(Declared(t.Spec, t.Machines, g), exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6)), g.Inside())
	return proved(&c)
}

func provedTrusted(t *Target, g *exposure.Graph) []Evidence {
	if t.Spec.Spec.Exposure.ToEverybody() {
		return everybodyTrusted()
	}
	others := exposure.IPv4.Or(exposure.IPv6).Minus(exposure.Prefixes(t.Spec.Spec.Exposure.Trusted()...))
	c := exposure.Compare(nil, exposure.Reach(g, others), g.Inside())
	return proved(&c)
}

// hosts are the nodes of a graph that send and receive: machines, groups of them, and load balancers.
func hosts(g *exposure.Graph) []*exposure.Node {
	var out []*exposure.Node
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Kind == exposure.Machine || slices.Contains(v1alpha1.Roles, v1alpha1.Role(n.Role)) {
			out = append(out, n)
		}
	}
	return out
}

func addressesOf(n *exposure.Node) []netip.Addr {
	var out []netip.Addr
	for _, a := range n.Attachments {
		out = append(out, a.Addresses...)
	}
	return out
}

// provedNAT has every machine send anything anywhere outside, and looks who it seems to come from.
func provedNAT(t *Target, g *exposure.Graph) []Evidence {
	gateways := map[netip.Addr]bool{}
	outsiders := map[string]bool{}
	for _, n := range g.Nodes {
		for _, a := range n.Public {
			gateways[a] = gateways[a] || n.Role == "NAT gateway"
		}
		outsiders[n.Name] = n.Kind == exposure.Internet
	}
	outside := exposure.IPv4.Or(exposure.IPv6).Minus(g.Inside())
	var out []Evidence
	for _, n := range hosts(g) {
		if n.Kind != exposure.Machine {
			continue // what a load balancer opens connections to is in its target groups
		}
		role := v1alpha1.Role(n.Role)
		seen := map[string]exposure.Set{} // by whom they seem to come from
		for _, e := range exposure.From(g, n.Name) {
			if outsiders[e.Node] {
				who := "itself"
				if e.Source.IsValid() {
					who = g.Text(e.Source)
				}
				if !gateways[e.Source] {
					who += ", which is no NAT gateway"
				}
				seen[who] = seen[who].Or(e.Packets.And(exposure.To(outside)))
			}
		}
		for _, port := range []uint16{443, 8443} {
			e := Evidence{Attempt: fmt.Sprintf("connect to port %d of anybody on the internet", port), From: n.Name, As: "nobody", Want: Refused, Got: Refused, Answer: "no rule and route lead there"}
			if outward(role, fmt.Sprint(port)) && len(g.Assumed) == 0 { // of a network that is not of the plan, how it gets out is not known
				e.Want = Allowed
			}
			for who, packets := range seen {
				if packets.And(exposure.Ports(exposure.TCP, port)).Empty() {
					continue
				}
				e.Got, e.Answer = Allowed, "seen as "+who
				if strings.Contains(who, "no NAT gateway") {
					e.Want = Refused
					break
				}
			}
			out = append(out, e)
		}
		if role == v1alpha1.RoleBastion {
			continue
		}
		e := Evidence{Attempt: "find a public address", From: n.Name, As: "anybody", Want: Refused, Got: Refused, Answer: "it has none"}
		if len(n.Public) > 0 {
			e.Got, e.Answer = Allowed, g.Text(n.Public[0])
		}
		out = append(out, e)
	}
	return out
}

// reaches says what of a role's machines a host reaches, worked out once for each.
type reaches struct {
	g     *exposure.Graph
	known map[string]exposure.Surface
}

func (r *reaches) from(name string) exposure.Surface {
	if s, ok := r.known[name]; ok {
		return s
	}
	s := exposure.From(r.g, name)
	if name == provider.FromInternet {
		s = exposure.Reach(r.g, exposure.IPv4.Or(exposure.IPv6))
	}
	r.known[name] = s
	return s
}

// at are the entries of packets for a port of a host, by an address of its own or by a public one.
func (r *reaches) at(from string, to *exposure.Node, protocol string, port int) []exposure.Entry {
	number, _ := exposure.ProtocolNumber(protocol)
	packets := exposure.To(exposure.Addresses(append(addressesOf(to), to.Public...)...)).And(exposure.Ports(number, uint16(port)))
	var out []exposure.Entry
	for _, e := range r.from(from) {
		// What has left for the outside comes back from there, if it does, which is tried by itself.
		left := slices.ContainsFunc(r.g.Nodes, func(n exposure.Node) bool { return n.Name == e.Node && n.Kind == exposure.Internet })
		if !left && !e.Packets.And(packets).Empty() {
			out = append(out, e)
		}
	}
	return out
}

// knock is evidence of whether a port of a host is reached.
func (r *reaches) knock(what, from string, to *exposure.Node, protocol string, port int, want Expectation) Evidence {
	e := Evidence{Attempt: fmt.Sprintf("connect to %s, %s:%d/%s", what, to.Name, port, protocol), From: from, As: "nobody", Want: want, Got: Refused, Answer: "no rule and route lead there"}
	if all := r.at(from, to, protocol, port); len(all) > 0 {
		e.Got, e.Answer = Allowed, pathText(all[0].Path)
	}
	return e
}

// provedPlanes is the matrix of who reaches which port of whom. Members of a group are alike: what they may among each other is the
// business of another group's, if there is one.
func provedPlanes(_ *Target, g *exposure.Graph) []Evidence {
	r := &reaches{g, map[string]exposure.Surface{}}
	var out []Evidence
	for _, d := range openings() {
		for _, to := range hosts(g) {
			if to.Kind != exposure.Machine || v1alpha1.Role(to.Role) != d.role {
				continue
			}
			inside := *to
			inside.Public = nil // by those, it is for exp-surface to say
			out = append(out, r.knock(d.what, provider.FromInternet, &inside, d.protocol, d.port, Refused))
			for _, from := range hosts(g) {
				if from.Name == to.Name {
					continue
				}
				want := Refused
				role := v1alpha1.Role(from.Role)
				if slices.Contains(d.needed, role) && from.Kind == exposure.Machine || role == v1alpha1.RoleBastion && slices.Contains(d.needed, provider.Operator) {
					want = Allowed
				}
				out = append(out, r.knock(d.what, from.Name, &inside, d.protocol, d.port, want))
			}
		}
	}
	return out
}

// provedAPIInternal is who reaches the API, by the internal load balancer and beside it.
func provedAPIInternal(_ *Target, g *exposure.Graph) []Evidence {
	r := &reaches{g, map[string]exposure.Surface{}}
	var out []Evidence
	for _, to := range hosts(g) {
		out = append(out, r.knock("the API's port", provider.FromInternet, to, "tcp", unit.PortAPIServer, Refused))
		if role := v1alpha1.Role(to.Role); role == v1alpha1.RoleLB {
			e := Evidence{Attempt: "find a public address", From: to.Name, As: "anybody", Want: Refused, Got: Refused, Answer: "it has none"}
			if len(to.Public) > 0 {
				e.Got, e.Answer = Allowed, g.Text(to.Public[0])
			}
			out = append(out, e)
		}
		for _, from := range hosts(g) {
			role := v1alpha1.Role(from.Role)
			if role == v1alpha1.RoleBastion {
				role = provider.Operator // who comes through it
			}
			want := Refused
			if mayReachAPI(role, v1alpha1.Role(to.Role)) && role != v1alpha1.Role(to.Role) {
				want = Allowed
			}
			if from.Name != to.Name {
				out = append(out, r.knock("the API's port", from.Name, to, "tcp", unit.PortAPIServer, want))
			}
		}
	}
	return out
}
