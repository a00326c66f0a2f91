package exposure

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func prefixesOf(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func at(address string) Ranges { return Addresses(netip.MustParseAddr(address)) }

// edge is a network of the shape that clusters have: an edge with addresses of its own, behind it machines of which the bastion
// is known by a public address, and a second router for IPv6.
func edge() *Graph {
	var (
		bastion, worker = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.3")
		public          = at("192.0.2.255")
		six             = netip.MustParseAddr("2001:db8::1")
		trusted         = Prefixes(prefixesOf("0.0.0.0/8", "255.255.255.255/32")...)
	)
	return &Graph{Nodes: []Node{
		{Name: "internet", Kind: Internet, Attachments: []Attachment{{Name: "eth0", Network: "outside"}}},
		{Name: "edge", Kind: Router, Forward4: true, Forward6: true,
			Attachments: []Attachment{
				{Name: "outside", Network: "outside", Addresses: []netip.Addr{public[0].First()}, Strict4: true},
				{Name: "bastion", Network: "to the bastion"},
				{Name: "worker", Network: "to the worker"},
			},
			Routes: []Route{
				{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Attachment: "outside"},
				{Prefix: netip.PrefixFrom(bastion, 32), Attachment: "bastion"},
				{Prefix: netip.PrefixFrom(worker, 32), Attachment: "worker"},
				{Prefix: netip.MustParsePrefix("2001:db8::/64"), Attachment: "worker", Via: worker},
			},
			Arriving: []Chain{{Name: "prerouting", Accepts: true, Rules: []Rule{
				{Match: Match{In: []string{"outside"}, Destination: public}, Verdict: Translate, To: Rewrite{Destination: Addresses(bastion)}, Why: "the bastion"},
			}}},
			Delivering: []Chain{{Name: "input"}},
			Forwarding: []Chain{{Name: "forward", Rules: []Rule{
				{Match: Match{In: []string{"outside"}, Translated: Yes, Source: trusted, Destination: Addresses(bastion), Protocol: Numbers(TCP, TCP), Port: Numbers(1, 1)},
					Verdict: Accept, Why: "the way in"},
				{Match: Match{Source: Addresses(worker), Destination: Addresses(bastion)}, Verdict: Accept, Why: "between machines"},
				{Match: Match{Destination: Addresses(six), Protocol: Numbers(UDP, UDP)}, Verdict: Accept, Why: "IPv6 is open"},
			}}},
		},
		{Name: "bastion", Kind: Machine, Attachments: []Attachment{{Name: "eth0", Network: "to the bastion", Addresses: []netip.Addr{bastion}}}},
		{Name: "worker", Kind: Machine, Attachments: []Attachment{{Name: "eth0", Network: "to the worker", Addresses: []netip.Addr{worker, six}}}},
	}}
}

// mutation is a graph with one thing less or more than another.
type mutation struct {
	name string
	*Graph
}

// mutations leave out every single part of a graph, and open or widen every rule.
func mutations(make func() *Graph) []mutation {
	var out []mutation
	change := func(name string, f func(*Graph)) {
		g := make()
		f(g)
		out = append(out, mutation{name, g})
	}
	for i, n := range make().Nodes {
		for j, a := range n.Attachments {
			change("without attachment "+a.Name+" of "+n.Name, func(g *Graph) { g.Nodes[i].Attachments = slices.Delete(g.Nodes[i].Attachments, j, j+1) })
			change("without the reverse path filter on "+a.Name+" of "+n.Name, func(g *Graph) { g.Nodes[i].Attachments[j].Strict4 = false })
			for k, address := range a.Addresses {
				change(fmt.Sprintf("without address %s of %s", address, n.Name), func(g *Graph) {
					at := &g.Nodes[i].Attachments[j]
					at.Addresses = slices.Delete(at.Addresses, k, k+1)
				})
			}
			change("another address on "+a.Name+" of "+n.Name, func(g *Graph) {
				at := &g.Nodes[i].Attachments[j]
				at.Addresses = append(at.Addresses, netip.MustParseAddr("10.0.0.4"))
			})
		}
		for j, r := range n.Routes {
			change("without route to "+r.Prefix.String(), func(g *Graph) { g.Nodes[i].Routes = slices.Delete(g.Nodes[i].Routes, j, j+1) })
			for _, a := range n.Attachments {
				change("route to "+r.Prefix.String()+" by "+a.Name, func(g *Graph) { g.Nodes[i].Routes[j].Attachment = a.Name })
			}
		}
		hooks := func(g *Graph) []*[]Chain {
			n := &g.Nodes[i]
			return []*[]Chain{&n.Arriving, &n.Delivering, &n.Forwarding, &n.Leaving}
		}
		for h, chains := range hooks(&Graph{Nodes: make().Nodes}) {
			for c, chain := range *chains {
				of := func(g *Graph) *Chain { return &(*hooks(g)[h])[c] }
				change("chain "+chain.Name+" accepts", func(g *Graph) { of(g).Accepts = true })
				change("chain "+chain.Name+" has a rule for everything", func(g *Graph) { of(g).Rules = append(of(g).Rules, Rule{Verdict: Accept}) })
				for r, rule := range chain.Rules {
					name := fmt.Sprintf("%q of chain %s", rule.Why, chain.Name)
					change("without "+name, func(g *Graph) { of(g).Rules = slices.Delete(of(g).Rules, r, r+1) })
					change("twice "+name, func(g *Graph) { of(g).Rules = slices.Insert(of(g).Rules, r, rule) })
					change(name+" drops", func(g *Graph) { of(g).Rules[r].Verdict = Drop })
					change(name+" from anywhere", func(g *Graph) { of(g).Rules[r].Source = nil })
					change(name+" to anything", func(g *Graph) { of(g).Rules[r].Destination = nil })
					change(name+" of any protocol", func(g *Graph) { of(g).Rules[r].Protocol = nil })
					change(name+" for any port", func(g *Graph) { of(g).Rules[r].Port = nil })
					change(name+" translated or not", func(g *Graph) { of(g).Rules[r].Translated = Either })
					change(name+" perhaps", func(g *Graph) { of(g).Rules[r].Maybe = true })
				}
			}
		}
	}
	return out
}

// TestMutations: whatever one thing less or more does, the sets say it as walks of every packet do; and all that it changes is
// written down.
func TestMutations(t *testing.T) {
	agree(t, edge())
	whole := Reach(edge(), IPv4.Or(IPv6)).Packets("")
	var b strings.Builder
	for _, m := range mutations(edge) {
		agree(t, m.Graph)
		packets := Reach(m.Graph, IPv4.Or(IPv6)).Packets("")
		fmt.Fprintf(&b, "%s\n", m.name)
		for _, c := range packets.Minus(whole).Cells() {
			fmt.Fprintf(&b, "  + %s from %s\n", c.Text(), c.Sources)
		}
		for _, c := range whole.Minus(packets).Cells() {
			fmt.Fprintf(&b, "  - %s from %s\n", c.Text(), c.Sources)
		}
	}
	const file = "testdata/mutations.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("mutations change something else (-want +got):\n%s", diff)
	}
}

// TestCompare: what is declared is not missing where nobody out there can come from.
func TestCompare(t *testing.T) {
	g := edge()
	way := Declared{Name: "ssh", Address: netip.MustParseAddr("192.0.2.255"), Protocol: TCP, Port: 1, Node: "bastion",
		Sources: prefixesOf("0.0.0.0/8", "255.255.255.255/32")}
	six := Declared{Name: "six", Address: netip.MustParseAddr("2001:db8::1"), Protocol: UDP, Node: "worker", Sources: prefixesOf("::/0")}
	s := Reach(g, IPv4.Or(IPv6))
	c := Compare([]Declared{way, six}, s, g.Inside())
	if c.Equal() || len(c.Extra) != 1 || c.Extra[0].Node != "worker" || !c.Declared[0].Missing.Empty() || !c.Declared[1].Missing.Empty() {
		t.Errorf("all but one port of IPv6 is extra, and nothing missing: %s", jsonOf(c))
	}
	for name, change := range map[string]func(*Declared){
		"another machine": func(d *Declared) { d.Node = "worker" },
		"another port":    func(d *Declared) { d.Port = 2 },
		"another target":  func(d *Declared) { d.TargetPort = 22 },
		"fewer sources":   func(d *Declared) { d.Sources = d.Sources[:1] },
		"more sources":    func(d *Declared) { d.Sources = prefixesOf("0.0.0.0/0") },
		"nobody":          func(d *Declared) { d.Sources = nil },
		"another family":  func(d *Declared) { d.Sources = prefixesOf("::/0") },
	} {
		d := way
		change(&d)
		four := Reach(g, IPv4)
		if c := Compare([]Declared{way}, four, g.Inside()); !c.Equal() {
			t.Fatalf("IPv4 alone differs: %s", jsonOf(c))
		}
		if c := Compare([]Declared{d}, four, g.Inside()); c.Equal() {
			t.Errorf("%s: nothing differs", name)
		}
	}
}

// thousand is a network of so many machines, of roles with rules between them.
func thousand(n int) *Graph {
	roles := []string{"vault", "etcd", "control-plane", "worker", "lb"}
	byRole := map[string][]netip.Addr{}
	fabric := Node{Name: "fabric", Kind: Router, Forward4: true,
		Attachments: []Attachment{{Name: "internet", Network: "internet", Addresses: addressesOf("203.0.113.254"), Strict4: true}},
		Routes:      []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Attachment: "internet"}}}
	g := &Graph{Nodes: []Node{{Name: "internet", Kind: Internet, Attachments: []Attachment{{Name: "eth0", Network: "internet"}}}}}
	address := netip.MustParseAddr("10.0.0.10")
	for i := range n {
		name, role := fmt.Sprintf("m-%d", i), roles[i%len(roles)]
		byRole[role] = append(byRole[role], address)
		g.Nodes = append(g.Nodes, Node{Name: name, Kind: Machine, Role: role,
			Attachments: []Attachment{{Name: "eth0", Network: name, Addresses: []netip.Addr{address}}}})
		fabric.Attachments = append(fabric.Attachments, Attachment{Name: name, Network: name})
		fabric.Routes = append(fabric.Routes, Route{Prefix: netip.PrefixFrom(address, 32), Attachment: name})
		address = address.Next()
	}
	forward, translate := Chain{Name: "forward"}, Chain{Name: "prerouting", Accepts: true}
	for i, from := range roles {
		for j, to := range roles {
			forward.Rules = append(forward.Rules, Rule{Verdict: Accept, Match: Match{Source: Addresses(byRole[from]...),
				Destination: Addresses(byRole[to]...), Protocol: Numbers(TCP, TCP), Port: Numbers(uint16(1000+i), uint16(1000+i+j))}})
		}
	}
	public := netip.MustParseAddr("203.0.113.1")
	for _, a := range byRole["lb"] {
		translate.Rules = append(translate.Rules, Rule{Verdict: Translate, Match: Match{Destination: Addresses(public)}, To: Rewrite{Destination: Addresses(a)}})
		public = public.Next()
	}
	forward.Rules = append(forward.Rules, Rule{Verdict: Accept, Match: Match{Translated: Yes, Protocol: Numbers(TCP, TCP), Port: Numbers(443, 443),
		Source: Prefixes(prefixesOf("198.51.100.0/24")...)}})
	fabric.Forwarding, fabric.Arriving = []Chain{forward}, []Chain{translate}
	g.Nodes = append(g.Nodes, fabric)
	return g
}

func BenchmarkReachOfAThousandMachines(b *testing.B) {
	g := thousand(1000)
	for b.Loop() {
		if s := Reach(g, IPv4.Or(IPv6)); len(s) != 201 { // the fabric itself is one
			b.Fatalf("%d entries, the last %+v", len(s), s[len(s)-1])
		}
	}
}
