package exposure

import (
	"net/netip"
	"slices"
)

// Packet is the first of a connection, as far as it matters who may send it where.
type Packet struct {
	Source, Destination netip.Addr
	Protocol            uint8
	Port                uint16 // of protocols without ports: any
}

// What packets are told apart by, in the order in which a Set does.
const (
	destination = iota
	protocol
	port
	source
	dimensions
	innermost = dimensions - 1
)

func (p Packet) points() [dimensions]point {
	return [dimensions]point{pointOf(p.Destination), number(uint16(p.Protocol)), number(p.Port), pointOf(p.Source)}
}

// Set is a set of packets. Equal sets look alike: of each dimension there are the fewest slabs that tell apart what is
// different further in. It is never changed, so parts of it are shared.
type Set struct{ slabs []slab }

// slab is a range of one dimension, with what of the next ones is in the set; of the last there is nothing but the range.
type slab struct {
	Range
	rest []slab
}

// anything is all that a dimension can be.
var anything = [dimensions]Ranges{
	destination: IPv4.Or(IPv6), protocol: Numbers(0, 255), port: Numbers(0, 1<<16-1), source: IPv4.Or(IPv6),
}

// Everything is all packets that there can be: both ends are of one family.
var Everything = product([dimensions]Ranges{IPv4, nil, nil, IPv4}).Or(product([dimensions]Ranges{IPv6, nil, nil, IPv6}))

// To is the set of packets to some addresses, from anywhere.
func To(addresses Ranges) Set {
	return Everything.And(product([dimensions]Ranges{destination: orNone(addresses)}))
}

// Ports is the set of packets of a protocol for a port.
func Ports(of uint8, n uint16) Set {
	return Everything.And(product([dimensions]Ranges{protocol: Numbers(uint16(of), uint16(of)), port: Numbers(n, n)}))
}

// product is the set of packets with all dimensions in these ranges, where nil is any.
func product(in [dimensions]Ranges) Set {
	var rest []slab
	for d := innermost; d >= 0; d-- {
		r := in[d]
		switch {
		case r == nil:
			r = anything[d]
		case len(r) == 0:
			return Set{}
		}
		slabs := r.slabs()
		for i := range slabs {
			slabs[i].rest = rest
		}
		rest = slabs
	}
	return Set{rest}
}

// Empty says whether there is no packet in the set.
func (s Set) Empty() bool { return len(s.slabs) == 0 }

// And is what is in both.
func (s Set) And(o Set) Set { return Set{combine(and, s.slabs, o.slabs, 0)} }

// Or is what is in either.
func (s Set) Or(o Set) Set { return Set{combine(or, s.slabs, o.slabs, 0)} }

// Minus is what is in the first alone.
func (s Set) Minus(o Set) Set { return Set{combine(minus, s.slabs, o.slabs, 0)} }

// Equal says whether both have the same packets.
func (s Set) Equal(o Set) bool { return same(s.slabs, o.slabs) }

// Contains says whether a packet is in the set.
func (s Set) Contains(p Packet) bool {
	slabs := s.slabs
	for _, at := range p.points() {
		i, found := slices.BinarySearchFunc(slabs, at, func(s slab, p point) int { return s.first.compare(p) })
		if !found {
			i--
		}
		if i < 0 || slabs[i].last.less(at) {
			return false
		}
		slabs = slabs[i].rest
	}
	return true
}

// Cell is a part of a set that can be said in one line.
type Cell struct {
	Destination, Protocol, Port Range
	Sources                     Ranges
}

// Cells are the parts of a set, apart from each other, by destination, protocol and port.
func (s Set) Cells() []Cell {
	var out []Cell
	for _, d := range s.slabs {
		for _, p := range d.rest {
			for _, n := range p.rest {
				out = append(out, Cell{d.Range, p.Range, n.Range, rangesOf(n.rest)})
			}
		}
	}
	return out
}

func same(a, b []slab) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if a[i].Range != b[i].Range || !same(a[i].rest, b[i].rest) {
			return false
		}
	}
	return true
}

// join appends a slab, to the last one itself if it goes on with the same.
func join(out []slab, s slab) []slab {
	if n := len(out) - 1; n >= 0 && s.first.follows(out[n].last) && same(out[n].rest, s.rest) {
		out[n].last = s.last
		return out
	}
	return append(out, s)
}
