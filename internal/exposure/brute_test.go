package exposure

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A small universe, of which every packet is tried. Its addresses are at the edges of networks.
var (
	universe4 = addressesOf("10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.4", "192.0.2.255", "255.255.255.255")
	universe6 = addressesOf("::", "2001:db8::1", "2001:db8::2")
	networks  = []string{"0.0.0.0/0", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.4/30", "192.0.2.0/24", "::/0", "2001:db8::/64", "2001:db8::2/127"}
	protocols = []uint8{TCP, UDP}
	portsOf   = []uint16{0, 1, 65535}
)

func addressesOf(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

// everyPacket of the universe.
func everyPacket() []Packet {
	var out []Packet
	for _, family := range [][]netip.Addr{universe4, universe6} {
		for _, from := range family {
			for _, to := range family {
				for _, protocol := range protocols {
					for _, port := range portsOf {
						out = append(out, Packet{from, to, protocol, port})
					}
				}
			}
		}
	}
	return out
}

// What follows walks a graph with one packet at a time, as a network would, and knows nothing of sets of packets.

type walker struct {
	g    *Graph
	been map[string]bool
	got  map[string]bool // "machine address port", as the packet arrived there
}

type oneAt struct {
	Packet
	translated, masqueraded bool
}

// walked returns where a packet gets to.
func walked(g *Graph, p Packet) map[string]bool {
	w := &walker{g: g, been: map[string]bool{}, got: map[string]bool{}}
	for i := range g.Nodes {
		for _, a := range g.Nodes[i].Attachments {
			if g.Nodes[i].Kind == Internet && a.Network != "" {
				w.neighbours(a.Network, func(n *Node, in *Attachment) { w.arrive(n, in, p) })
			}
		}
	}
	return w.got
}

func (w *walker) neighbours(network string, do func(*Node, *Attachment)) {
	for i := range w.g.Nodes {
		n := &w.g.Nodes[i]
		for j := range n.Attachments {
			if n.Kind != Internet && n.Attachments[j].Network == network {
				do(n, &n.Attachments[j])
			}
		}
	}
}

func (w *walker) arrive(n *Node, in *Attachment, p Packet) {
	state := fmt.Sprint(n.Name, "|", in.Name, "|", p)
	if w.been[state] {
		return
	}
	w.been[state] = true
	if (in.Strict4 && p.Source.Is4() || in.Strict6 && p.Source.Is6()) && (owns(n, p.Source) || !slices.ContainsFunc(taken(n, p.Source), func(r Route) bool { return r.Attachment == in.Name })) {
		return
	}
	for _, at := range w.chains(n.Arriving, in.Name, "", oneAt{Packet: p}) {
		if n.Kind == Machine || owns(n, at.Destination) {
			for _, at := range w.chains(n.Delivering, in.Name, "", at) {
				w.got[fmt.Sprint(n.Name, " ", at.Source, " ", at.Destination, " ", at.Port)] = true
			}
		}
		if owns(n, at.Destination) {
			continue
		}
		if at.Destination.Is4() && !n.Forward4 || at.Destination.Is6() && !n.Forward6 {
			continue
		}
		for _, route := range taken(n, at.Destination) {
			for _, at := range w.chains(n.Forwarding, in.Name, route.Attachment, at) {
				for _, at := range w.chains(n.Leaving, in.Name, route.Attachment, at) {
					w.leave(n, route, at.Packet)
				}
			}
		}
	}
}

func (w *walker) leave(n *Node, route Route, p Packet) {
	next := route.Via
	if !next.IsValid() {
		next = p.Destination
	}
	for _, a := range n.Attachments {
		if a.Name == route.Attachment && a.Network != "" {
			w.neighbours(a.Network, func(to *Node, in *Attachment) {
				if to != n && owns(to, next) {
					w.arrive(to, in, p)
				}
			})
		}
	}
}

func owns(n *Node, a netip.Addr) bool {
	return slices.ContainsFunc(n.Attachments, func(at Attachment) bool { return slices.Contains(at.Addresses, a) })
}

// taken are the routes that may be taken to an address.
func taken(n *Node, to netip.Addr) []Route {
	best := -1
	for _, r := range n.Routes {
		if !r.Maybe && r.Prefix.Contains(to) {
			best = max(best, r.Prefix.Bits())
		}
	}
	var out []Route
	for _, r := range n.Routes {
		if r.Attachment != "" && r.Prefix.Contains(to) && (r.Maybe || r.Prefix.Bits() == best) {
			out = append(out, r)
		}
	}
	return out
}

func (w *walker) chains(chains []Chain, in, out string, at oneAt) []oneAt {
	if len(chains) == 0 {
		return []oneAt{at}
	}
	accepted, undecided := w.rules(chains[0].Rules, in, out, at)
	if chains[0].Accepts {
		accepted = append(accepted, undecided...)
	}
	var all []oneAt
	for _, at := range accepted {
		all = append(all, w.chains(chains[1:], in, out, at)...)
	}
	return all
}

// rules follows every branch that there may be from the first rule on.
func (w *walker) rules(rules []Rule, in, out string, at oneAt) (accepted, undecided []oneAt) {
	if len(rules) == 0 {
		return nil, []oneAt{at}
	}
	r, rest := &rules[0], rules[1:]
	goOn := func(at oneAt) {
		a, u := w.rules(rest, in, out, at)
		accepted, undecided = append(accepted, a...), append(undecided, u...)
	}
	if !meets(&r.Match, in, out, at) {
		goOn(at)
		return accepted, undecided
	}
	if r.Maybe {
		goOn(at)
	}
	switch r.Verdict {
	case Accept:
		accepted = append(accepted, at)
	case Return:
		undecided = append(undecided, at)
	case Jump:
		a, u := w.rules(r.Rules, in, out, at)
		accepted = append(accepted, a...)
		for _, at := range u {
			goOn(at)
		}
	case Translate:
		accepted = append(accepted, translations(r.To, at)...)
	}
	return accepted, undecided
}

func translations(to Rewrite, at oneAt) []oneAt {
	toOther := len(to.Destination)+len(to.Port) > 0
	if toOther && at.translated || len(to.Source) > 0 && at.masqueraded {
		return []oneAt{at}
	}
	pick := func(all []netip.Addr, in Ranges, now netip.Addr) []netip.Addr {
		if len(in) == 0 {
			return []netip.Addr{now}
		}
		return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return !in.Contains(a) })
	}
	ports := []uint16{at.Port}
	if len(to.Port) > 0 {
		ports = slices.DeleteFunc(slices.Clone(portsOf), func(p uint16) bool { return !to.Port.contains(number(p)) })
	}
	all := slices.Concat(universe4, universe6)
	var out []oneAt
	for _, from := range pick(all, to.Source, at.Source) {
		for _, dest := range pick(all, to.Destination, at.Destination) {
			for _, port := range ports {
				out = append(out, oneAt{Packet{from, dest, at.Protocol, port}, at.translated || toOther, at.masqueraded || len(to.Source) > 0})
			}
		}
	}
	return out
}

func meets(m *Match, in, out string, at oneAt) bool {
	named := func(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	within := func(r Ranges, p point) bool { return len(r) == 0 || r.contains(p) }
	return named(m.In, in) && named(m.Out, out) &&
		within(m.Source, pointOf(at.Source)) && within(m.Destination, pointOf(at.Destination)) &&
		within(m.Protocol, number(uint16(at.Protocol))) && within(m.Port, number(at.Port)) &&
		(m.Translated != Yes || at.translated) && (m.Translated != No || !at.translated)
}

// delivered is the same as what walked returns, of the sets.
func delivered(deliveries []delivery, p Packet) map[string]bool {
	out := map[string]bool{}
	for _, d := range deliveries {
		if !d.sent.Contains(p) {
			continue
		}
		for _, at := range translations(Rewrite{d.now[source], d.now[destination], d.now[port]}, oneAt{Packet: p}) {
			out[fmt.Sprint(d.node.Name, " ", at.Source, " ", at.Destination, " ", at.Port)] = true
		}
	}
	return out
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// agree compares the sets with walks of every packet.
func agree(t fataler, g *Graph) {
	t.Helper()
	r := explore(g, IPv4.Or(IPv6))
	surface := r.surface()
	for _, p := range everyPacket() {
		want, have := walked(g, p), delivered(r.reached, p)
		if fmt.Sprint(want) != fmt.Sprint(have) {
			t.Fatalf("packet %+v gets to %v, the sets say %v, of\n%s", p, want, have, jsonOf(g))
		}
		// What is taken to any of a range may end at addresses that no packet of the walks has.
		beyond := slices.ContainsFunc(r.reached, func(d delivery) bool {
			return d.sent.Contains(p) && len(translations(Rewrite{d.now[source], d.now[destination], d.now[port]}, oneAt{Packet: p})) == 0
		})
		if got := surface.Packets("").Contains(p); got != (len(want) > 0) && !beyond {
			t.Fatalf("packet %+v gets to %v, the surface says %v, of\n%s", p, want, got, jsonOf(g))
		}
	}
}

func TestReachAgainstBruteForce(t *testing.T) {
	for range 8 {
		rapid.Check(t, func(t *rapid.T) { agree(t, randomGraph(t)) })
	}
}
