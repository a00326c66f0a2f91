package exposure

import (
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"
)

func randomGraph(t *rapid.T) *Graph {
	g := &Graph{Nodes: []Node{{Name: "internet", Kind: Internet, Attachments: []Attachment{{Name: "out", Network: "n0"}}}}}
	for i := range rapid.IntRange(1, 3).Draw(t, "routers") {
		g.Nodes = append(g.Nodes, randomNode(t, fmt.Sprintf("r%d", i), Router, rapid.IntRange(1, 3).Draw(t, "attachments")))
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "machines") {
		g.Nodes = append(g.Nodes, randomNode(t, fmt.Sprintf("m%d", i), Machine, 1))
	}
	return g
}

func randomNode(t *rapid.T, name string, kind Kind, attachments int) Node {
	n := Node{Name: name, Kind: kind, Forward4: rapid.IntRange(0, 9).Draw(t, "forward4") > 0, Forward6: rapid.Bool().Draw(t, "forward6")}
	all := slices.Concat(universe4, universe6)
	for i := range attachments {
		n.Attachments = append(n.Attachments, Attachment{
			Name: fmt.Sprintf("a%d", i), Network: fmt.Sprintf("n%d", rapid.IntRange(0, 2).Draw(t, "network")),
			Addresses: rapid.SliceOfN(rapid.SampledFrom(all), 0, 2).Draw(t, "addresses"),
			Strict4:   rapid.IntRange(0, 5).Draw(t, "strict4") == 0, Strict6: rapid.IntRange(0, 5).Draw(t, "strict6") == 0,
		})
	}
	if name == "r0" { // or hardly a packet would get anywhere
		n.Attachments[0].Network = "n0"
	}
	if kind == Router || rapid.IntRange(0, 3).Draw(t, "a machine that forwards") == 0 {
		for range rapid.IntRange(1, 6).Draw(t, "routes") {
			r := Route{Prefix: netip.MustParsePrefix(rapid.SampledFrom(networks).Draw(t, "prefix")), Maybe: rapid.IntRange(0, 5).Draw(t, "maybe") == 0}
			if to := rapid.IntRange(-1, attachments-1).Draw(t, "to"); to >= 0 {
				r.Attachment = fmt.Sprintf("a%d", to)
			}
			if rapid.IntRange(0, 5).Draw(t, "via") == 0 {
				r.Via = rapid.SampledFrom(all).Draw(t, "gateway")
			}
			n.Routes = append(n.Routes, r)
		}
		n.Forwarding, n.Leaving = randomHook(t, attachments), randomHook(t, attachments)
	}
	n.Arriving, n.Delivering = randomHook(t, attachments), randomHook(t, attachments)
	return n
}

func randomHook(t *rapid.T, attachments int) []Chain {
	var out []Chain
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(t, "chains") {
		out = append(out, Chain{Rules: randomRules(t, attachments, 2), Accepts: rapid.IntRange(0, 3).Draw(t, "accepts") > 0})
	}
	return out
}

func randomRules(t *rapid.T, attachments, depth int) []Rule {
	var out []Rule
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := Rule{Match: randomMatch(t, attachments), Maybe: rapid.IntRange(0, 4).Draw(t, "maybe") == 0,
			Verdict: rapid.SampledFrom([]Verdict{Accept, Accept, Drop, Return, Jump, Translate, Translate}).Draw(t, "verdict")}
		switch {
		case r.Verdict == Jump && depth > 0:
			r.Rules = randomRules(t, attachments, depth-1)
		case r.Verdict == Translate:
			switch rapid.IntRange(0, 3).Draw(t, "translation") {
			case 0:
				r.To.Source = randomAddresses(t)
			case 1:
				r.To.Port = randomPorts(t)
			case 2:
				r.To.Port = randomPorts(t)
				fallthrough
			default:
				r.To.Destination = randomAddresses(t)
			}
		}
		out = append(out, r)
	}
	return out
}

func randomMatch(t *rapid.T, attachments int) Match {
	var m Match
	draw := func(label string, set func()) {
		if rapid.IntRange(0, 2).Draw(t, label) == 0 {
			set()
		}
	}
	name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("a%d", rapid.IntRange(0, attachments-1).Draw(t, "name")) })
	draw("in", func() { m.In = []string{name.Draw(t, "in")} })
	draw("out", func() { m.Out = []string{name.Draw(t, "out")} })
	draw("source", func() { m.Source = randomAddresses(t) })
	draw("destination", func() { m.Destination = randomAddresses(t) })
	draw("protocol", func() { m.Protocol = Numbers(TCP, TCP) })
	draw("port", func() { m.Port = randomPorts(t) })
	draw("translated", func() { m.Translated = rapid.SampledFrom([]Truth{Yes, No}).Draw(t, "truth") })
	return m
}

// randomAddresses always has some of the universe.
func randomAddresses(t *rapid.T) Ranges {
	out := Addresses(rapid.SliceOfN(rapid.SampledFrom(slices.Concat(universe4, universe6)), 1, 2).Draw(t, "addresses")...)
	if rapid.IntRange(0, 2).Draw(t, "wide") == 0 {
		out = out.Or(Prefixes(netip.MustParsePrefix(rapid.SampledFrom(networks).Draw(t, "network"))))
	}
	return out
}

func randomPorts(t *rapid.T) Ranges {
	first := rapid.SampledFrom(portsOf).Draw(t, "port")
	return Numbers(first, max(first, rapid.SampledFrom(portsOf).Draw(t, "last")))
}
