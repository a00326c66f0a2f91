package exposure

import "fmt"

// Reach returns all that packets from some addresses reach that the internet sends. It sends anything to anything: to private
// addresses, too, and from addresses that are not its own.
func Reach(g *Graph, sources Ranges) Surface { return explore(g, sources).surface() }

func explore(g *Graph, sources Ranges) *reach {
	r := newReach(g)
	all := flow{sent: Everything.And(product([dimensions]Ranges{source: orNone(sources)}))}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; n.Kind == Internet {
			for j := range n.Attachments {
				for _, to := range r.networks[n.Attachments[j].Network] {
					r.send(to, all)
				}
			}
		}
	}
	for len(r.pending) > 0 {
		next := r.pending[0]
		r.pending = r.pending[1:]
		r.arrive(next.interfaceOf, next.flow)
	}
	return r
}

// reach is one walk over a graph.
type reach struct {
	networks   map[string][]interfaceOf
	known      map[*Node]*known
	conditions map[*Match]*condition
	seen       map[visit]Set
	pending    []arrival
	reached    []delivery
}

// interfaceOf is an attachment with its node.
type interfaceOf struct {
	node *Node
	at   *Attachment
}

type arrival struct {
	interfaceOf
	flow
}

// visit is a state in which packets have been somewhere: to come again in the same leads nowhere new.
type visit struct {
	at    *Attachment
	now   string
	maybe bool
}

// known is what is worked out of a node once.
type known struct {
	own    *condition // what is for itself
	routes []routed
	back   map[*Attachment]*condition // what may come in by strict attachments
}

// routed is a route with the packets that take it.
type routed struct {
	*Route
	takes *condition
}

func newReach(g *Graph) *reach {
	r := &reach{networks: map[string][]interfaceOf{}, known: map[*Node]*known{}, conditions: map[*Match]*condition{}, seen: map[visit]Set{}}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		r.known[n] = knownOf(n)
		for j := range n.Attachments {
			if network := n.Attachments[j].Network; network != "" {
				r.networks[network] = append(r.networks[network], interfaceOf{n, &n.Attachments[j]})
			}
		}
	}
	return r
}

func knownOf(n *Node) *known {
	own := Addresses(n.addresses()...)
	k := &known{own: to(own), back: map[*Attachment]*condition{}}
	for i, region := range regions(n.Routes) {
		if len(region) > 0 {
			k.routes = append(k.routes, routed{&n.Routes[i], to(region)})
		}
	}
	for i := range n.Attachments {
		a := &n.Attachments[i]
		if !a.Strict4 && !a.Strict6 {
			continue
		}
		var back Ranges
		for _, route := range k.routes {
			if route.Attachment == a.Name {
				back = back.Or(route.takes.Destination)
			}
		}
		if back = back.Minus(own).Or(a.trusting()); len(back) > 0 {
			k.back[a] = newCondition(&Match{Source: back})
		}
	}
	return k
}

// trusting are the addresses that an attachment takes for a source without looking.
func (a *Attachment) trusting() Ranges {
	var out Ranges
	if !a.Strict4 {
		out = out.Or(IPv4)
	}
	if !a.Strict6 {
		out = out.Or(IPv6)
	}
	return out
}

// to is the condition of going to some addresses; nil if there are none.
func to(addresses Ranges) *condition {
	if len(addresses) == 0 {
		return nil
	}
	return newCondition(&Match{Destination: addresses})
}

func (r *reach) condition(m *Match) *condition {
	c, ok := r.conditions[m]
	if !ok {
		c = newCondition(m)
		r.conditions[m] = c
	}
	return c
}

// send has packets arrive, unless others that are now the same have arrived there already.
func (r *reach) send(to interfaceOf, f flow) {
	if to.node.Kind == Internet {
		return
	}
	v := visit{to.at, fmt.Sprint(f.now), f.maybe}
	f.sent, f.translated, f.masqueraded = f.sent.Minus(r.seen[v]), false, false
	if f.sent.Empty() {
		return
	}
	r.seen[v] = r.seen[v].Or(f.sent)
	r.pending = append(r.pending, arrival{to, f.did(Step{to.node.Name, ByAttachment, "arrives on " + to.at.Name})})
}

func (r *reach) arrive(to interfaceOf, f flow) {
	n, k := to.node, r.known[to.node]
	if to.at.Strict4 || to.at.Strict6 {
		back := k.back[to.at]
		if back == nil {
			return
		}
		met, some, _ := f.split(back)
		if !some {
			return
		}
		f = met
	}
	for _, f := range r.hook(n.Arriving, place{n.Name, to.at.Name, ""}, f) {
		if n.Kind == Machine {
			r.deliver(to, f)
		}
		rest := []flow{f}
		if k.own != nil {
			var met flow
			var some bool
			if met, some, rest = f.split(k.own); some && n.Kind != Machine {
				r.deliver(to, met)
			}
		}
		for _, f := range rest {
			r.forward(to, f)
		}
	}
}

func (r *reach) deliver(to interfaceOf, f flow) {
	for _, f := range r.hook(to.node.Delivering, place{to.node.Name, to.at.Name, ""}, f) {
		r.reached = append(r.reached, delivery{to.node, f})
	}
}

var families = [2]*condition{to(IPv4), to(IPv6)}

// forward sends packets along all routes that they may take.
func (r *reach) forward(from interfaceOf, f flow) {
	n := from.node
	for i, forwards := range [2]bool{n.Forward4, n.Forward6} {
		met, some, _ := f.split(families[i])
		if !forwards || !some {
			continue
		}
		for _, route := range r.known[n].routes {
			taking, some, _ := met.split(route.takes)
			if !some || route.Attachment == "" {
				continue
			}
			taking.maybe = taking.maybe || route.Maybe
			taking = taking.did(Step{n.Name, ByRoute, route.said()})
			p := place{n.Name, from.at.Name, route.Attachment}
			for _, f := range r.hook(n.Forwarding, p, taking) {
				for _, f := range r.hook(n.Leaving, p, f) {
					r.leave(n, route.Route, f)
				}
			}
		}
	}
}

// leave hands packets to whoever has the address that they go to next.
func (r *reach) leave(n *Node, route *Route, f flow) {
	for i := range n.Attachments {
		if n.Attachments[i].Name != route.Attachment {
			continue
		}
		for _, next := range r.networks[n.Attachments[i].Network] {
			switch own := r.known[next.node].own; {
			case next.node == n || own == nil:
			case !route.Via.IsValid():
				if met, some, _ := f.split(own); some {
					r.send(next, met)
				}
			case own.Destination.Contains(route.Via):
				r.send(next, f)
			}
		}
	}
}
