// Package exposure says what the internet can reach, as exact sets of packets, over a graph of a network that knows nothing of
// whose it is: nodes with addresses, routes, translations of addresses, and rules. What could not be understood of the real
// network is in the graph as something that may let pass all it might: unknown means exposed.
package exposure

import "net/netip"

// Graph is a network: nodes, with attachments to the networks between them.
type Graph struct {
	Nodes []Node `json:"nodes"`
	// Own are the ranges of the network, beside the addresses that its nodes have: nobody outside is in them.
	Own []netip.Prefix `json:"own,omitempty"`
	// Names are what the addresses are called that nobody knows yet, and others stand for.
	Names map[netip.Addr]string `json:"names,omitempty"`
	// Assumed is what was taken for granted, because it is not of this network.
	Assumed []string `json:"assumed,omitempty"`
}

// Kind is what a node does with packets.
type Kind string

// The kinds of nodes.
const (
	// Internet is where packets come from. They may be addressed to anything, and are taken by whoever is on a network with it.
	Internet Kind = "internet"
	// Router forwards by its routes, and takes what is for its own addresses.
	Router Kind = "router"
	// Machine has been reached by whatever arrives and its rules let in.
	Machine Kind = "machine"
)

// Node is something with addresses.
type Node struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	Role string `json:"role,omitempty"` // for people
	// Public is what the internet knows it by, where something translates that to one of its own.
	Public      []netip.Addr `json:"public,omitempty"`
	Attachments []Attachment `json:"attachments"`
	Routes      []Route      `json:"routes,omitempty"`
	// A Router forwards these families.
	Forward4 bool `json:"forward4,omitempty"`
	Forward6 bool `json:"forward6,omitempty"`
	// The chains of these hooks are asked, in this order, of all that arrives; of what is for the node itself; of what it forwards; of what leaves
	// it so. Every chain of a hook must accept.
	Arriving   []Chain `json:"arriving,omitempty"`
	Delivering []Chain `json:"delivering,omitempty"`
	Forwarding []Chain `json:"forwarding,omitempty"`
	Leaving    []Chain `json:"leaving,omitempty"`
}

// Attachment is an interface of a node.
type Attachment struct {
	Name    string `json:"name"`
	Network string `json:"network,omitempty"` // whose attachments reach each other; empty reaches nobody
	// Addresses are the node's own here. It answers for them on all of its attachments.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Strict attachments take a packet of the family only if its source would be routed back through them (reverse path filter).
	Strict4 bool `json:"strict4,omitempty"`
	Strict6 bool `json:"strict6,omitempty"`
}

// Route says where packets to a network leave. Of all that match a packet the most specific counts; of several of that, any may.
type Route struct {
	Prefix     netip.Prefix `json:"prefix"`
	Attachment string       `json:"attachment,omitempty"` // empty: they are dropped
	Via        netip.Addr   `json:"via,omitzero"`         // who takes them there; invalid: the destination itself
	// Maybe is a route that may be taken, and more specific ones notwithstanding.
	Maybe bool `json:"maybe,omitempty"`
}

// Chain is rules in order. What none of them decides about is dropped, unless Accepts.
type Chain struct {
	Name    string `json:"name"`
	Rules   []Rule `json:"rules,omitempty"`
	Accepts bool   `json:"accepts,omitempty"`
}

// Verdict is what a rule does with what it matches.
type Verdict string

// The verdicts.
const (
	Accept Verdict = "accept"
	Drop   Verdict = "drop"
	// Jump asks other rules first, and goes on with what they did not decide about.
	Jump Verdict = "jump"
	// Return leaves rules that were jumped to; of a chain, it decides nothing.
	Return Verdict = "return"
	// Translate accepts, with another destination or source. What has been translated by a node already stays as it is.
	Translate Verdict = "translate"
)

// Rule is a verdict on the packets that match.
type Rule struct {
	Match
	Verdict Verdict `json:"verdict"`
	// Maybe: it may apply to what matches, or not. All that follows from either is taken to happen.
	Maybe bool    `json:"maybe,omitempty"`
	To    Rewrite `json:"to,omitzero"`     // of Translate
	Rules []Rule  `json:"rules,omitempty"` // of Jump
	Why   string  `json:"why,omitempty"`   // for people: the reason, or the rule as written
}

// Match is a condition on packets. What is empty, anything meets.
type Match struct {
	In          []string `json:"in,omitempty"`  // attachments that they arrive by
	Out         []string `json:"out,omitempty"` // attachments that they leave by
	Source      Ranges   `json:"source,omitempty"`
	Destination Ranges   `json:"destination,omitempty"`
	Protocol    Ranges   `json:"-"`
	Port        Ranges   `json:"-"`
	// Translated is met by packets whose destination this node translated; or just by others.
	Translated Truth `json:"translated,omitempty"`
}

// Truth is yes, no, or either.
type Truth int8

// The truths.
const (
	Either Truth = iota
	Yes
	No
)

// Rewrite is what becomes of addresses and ports: any of these, where there are any.
type Rewrite struct {
	Source      Ranges `json:"source,omitempty"`
	Destination Ranges `json:"destination,omitempty"`
	Port        Ranges `json:"-"`
}

// The protocols that have names here.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
	SCTP   = 132
)

// Inside are the addresses of all nodes but the internet, and the network's own.
func (g *Graph) Inside() Ranges {
	var all []netip.Addr
	for i := range g.Nodes {
		if g.Nodes[i].Kind != Internet {
			all = append(all, g.Nodes[i].addresses()...)
		}
	}
	return Addresses(all...).Or(Prefixes(g.Own...))
}

// Text is an address, or what it is called.
func (g *Graph) Text(a netip.Addr) string {
	if name := g.Names[a]; name != "" {
		return name
	}
	return a.String()
}

func (n *Node) addresses() []netip.Addr {
	var out []netip.Addr
	for i := range n.Attachments {
		out = append(out, n.Attachments[i].Addresses...)
	}
	return out
}
