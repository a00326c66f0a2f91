package exposure

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// By is what made a step possible.
type By string

// The causes of a step.
const (
	ByAttachment  By = "attachment"
	ByTranslation By = "translation"
	ByRoute       By = "route"
	ByRule        By = "rule"
)

// Step is a part of a path.
type Step struct {
	Node string `json:"node"`
	By   By     `json:"by"`
	Says string `json:"says"`
}

func (s Step) String() string { return s.Node + ": " + s.Says }

// Target is what packets reach: a node, at the address and port that they are sent to, or that those were translated to.
type Target struct {
	Node    string     `json:"node"`
	Address netip.Addr `json:"address,omitzero"` // invalid: the one they were sent to
	Port    uint16     `json:"port,omitempty"`   // 0: likewise
	// Source is who they seem to come from, where that is not who sent them.
	Source netip.Addr `json:"source,omitzero"`
}

// Entry is packets that reach a target by one path.
type Entry struct {
	Target
	Packets Set    `json:"packets"`
	Path    []Step `json:"path"`
	// Maybe: something on the path was not understood, and may let them pass.
	Maybe bool `json:"maybe,omitempty"`
}

// Surface is all that can be reached. Of what gets there by several paths, each is an entry.
type Surface []Entry

// Packets are all that reach a node, or with "" any of them.
func (s Surface) Packets(node string) Set {
	var out Set
	for _, e := range s {
		if node == "" || e.Node == node {
			out = out.Or(e.Packets)
		}
	}
	return out
}

type delivery struct {
	node *Node
	flow
}

func (d *delivery) entry() Entry {
	e := Entry{Target: Target{Node: d.node.Name}, Packets: d.sent, Maybe: d.maybe}
	e.Address, _ = d.now[destination].Single()
	e.Source, _ = d.now[source].Single()
	if p := d.now[port]; len(p) == 1 && p[0].first == p[0].last {
		e.Port, _ = p[0].Numbers()
	}
	for s := d.path; s != nil; s = s.before {
		e.Path = append(e.Path, s.Step)
	}
	slices.Reverse(e.Path)
	return e
}

// surface makes entries of what was reached: one of all that differ in nothing but the packets.
func (r *reach) surface() Surface {
	at := map[string]int{}
	var out Surface
	for i := range r.reached {
		e := r.reached[i].entry()
		key := fmt.Sprint(e.Target, e.Maybe, e.Path)
		if j, ok := at[key]; ok {
			out[j].Packets = out[j].Packets.Or(e.Packets)
			continue
		}
		at[key] = len(out)
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// said is a rule as a step of a path.
func (r *Rule) said() string {
	what := "lets it pass"
	if r.Verdict == Translate {
		var to []string
		if len(r.To.Destination) > 0 {
			to = append(to, "is taken to "+r.To.Destination.String())
		}
		if len(r.To.Port) > 0 {
			to = append(to, "is taken to port "+r.To.Port.Text())
		}
		if len(r.To.Source) > 0 {
			to = append(to, "seems to come from "+r.To.Source.String())
		}
		what = strings.Join(to, ", ")
	}
	if r.Maybe {
		what = "perhaps " + what
	}
	if r.Why != "" {
		what += " (" + r.Why + ")"
	}
	return what
}

func (r *Route) said() string {
	out := fmt.Sprintf("route to %s by %s", r.Prefix, r.Attachment)
	if r.Via.IsValid() {
		out += " via " + r.Via.String()
	}
	return out
}

var protocolNames = map[uint16]string{ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPv6: "icmpv6", SCTP: "sctp"}

// ProtocolNumber is the number of a protocol by its name or number.
func ProtocolNumber(name string) (uint8, bool) {
	for n, known := range protocolNames {
		if known == name {
			return uint8(n), true
		}
	}
	var n uint8
	_, err := fmt.Sscan(name, &n)
	return n, err == nil
}

// ProtocolText is a range of protocols, for people.
func ProtocolText(r Range) string {
	first, last := r.Numbers()
	if name := protocolNames[first]; first == last && name != "" {
		return name
	}
	return Ranges{r}.protocols()
}

func (r Ranges) protocols() string {
	if slices.Equal(r, anything[protocol]) {
		return "any"
	}
	return r.Text()
}

// Text is where a cell's packets go to: an address, or several, with protocol and ports.
func (c Cell) Text() string {
	return fmt.Sprintf("%s %s %s", Ranges{c.Destination}, ProtocolText(c.Protocol), Ranges{c.Port}.Text())
}
