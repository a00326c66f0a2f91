package exposure

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Range is all points from its first to its last.
type Range struct{ first, last point }

// First and Last are its ends, as addresses.
func (r Range) First() netip.Addr { return r.first.address() }

// Last is the end of a range of addresses.
func (r Range) Last() netip.Addr { return r.last.address() }

// Numbers are its ends, as protocols or ports.
func (r Range) Numbers() (first, last uint16) { return uint16(r.first.low), uint16(r.last.low) }

// Ranges are a set of addresses, of protocols or of ports: sorted, apart from each other, and so the same for the same set.
type Ranges []Range

// What addresses there are.
var (
	IPv4 = Prefixes(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	IPv6 = Prefixes(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
)

// Prefixes is the set of the addresses of networks.
func Prefixes(prefixes ...netip.Prefix) Ranges {
	var all []slab
	for _, p := range prefixes {
		p = p.Masked()
		all = append(all, slab{Range: Range{pointOf(p.Addr()), lastOf(p)}})
	}
	return rangesOf(union(all))
}

// Addresses is a set of single addresses.
func Addresses(addresses ...netip.Addr) Ranges {
	var all []slab
	for _, a := range addresses {
		all = append(all, slab{Range: Range{pointOf(a), pointOf(a)}})
	}
	return rangesOf(union(all))
}

// Between is the set of the addresses from one to another of its family.
func Between(first, last netip.Addr) Ranges { return span(pointOf(first), pointOf(last)) }

// Numbers is the set of the protocols or ports from one to another.
func Numbers(first, last uint16) Ranges { return span(number(first), number(last)) }

// FromTo is the set of all from the only one of a set to the only one of another.
func FromTo(first, last Ranges) Ranges {
	if len(first) != 1 || len(last) != 1 || first[0].first.family != last[0].first.family {
		return nil
	}
	return span(first[0].first, last[0].last)
}

func span(first, last point) Ranges {
	if last.less(first) {
		return nil
	}
	return Ranges{{first, last}}
}

func lastOf(p netip.Prefix) point {
	at := pointOf(p.Addr())
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		at.low = 1<<64 - 1
		at.high |= 1<<(host-64) - 1
		return at
	}
	at.low |= 1<<host - 1
	return at
}

// union sorts slabs without anything in them, and joins those that touch.
func union(all []slab) []slab {
	slices.SortFunc(all, func(a, b slab) int { return a.first.compare(b.first) })
	var out []slab
	for _, s := range all {
		if n := len(out); n > 0 && !out[n-1].last.less(s.first) {
			if out[n-1].last.less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = join(out, s)
	}
	return out
}

func (r Ranges) slabs() []slab {
	out := make([]slab, len(r))
	for i, v := range r {
		out[i].Range = v
	}
	return out
}

func rangesOf(slabs []slab) Ranges {
	if len(slabs) == 0 {
		return nil
	}
	out := make(Ranges, len(slabs))
	for i, s := range slabs {
		out[i] = s.Range
	}
	return out
}

// And is what is in both.
func (r Ranges) And(o Ranges) Ranges { return rangesOf(combine(and, r.slabs(), o.slabs(), innermost)) }

// Or is what is in either.
func (r Ranges) Or(o Ranges) Ranges { return rangesOf(combine(or, r.slabs(), o.slabs(), innermost)) }

// Minus is what is in the first alone.
func (r Ranges) Minus(o Ranges) Ranges {
	return rangesOf(combine(minus, r.slabs(), o.slabs(), innermost))
}

// Contains says whether an address is in the set.
func (r Ranges) Contains(a netip.Addr) bool { return r.contains(pointOf(a)) }

func (r Ranges) contains(p point) bool {
	i, found := slices.BinarySearchFunc(r, p, func(at Range, p point) int { return at.first.compare(p) })
	return found || i > 0 && !r[i-1].last.less(p)
}

// Single is the only address of a set that has only one.
func (r Ranges) Single() (netip.Addr, bool) {
	if len(r) != 1 || r[0].first != r[0].last {
		return netip.Addr{}, false
	}
	return r[0].First(), true
}

// Prefixes are the fewest networks that make up a set of addresses.
func (r Ranges) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, family := range []Ranges{IPv4, IPv6} {
		for _, v := range r.And(family) {
			out = appendPrefixes(out, v)
		}
	}
	return out
}

// appendPrefixes takes the largest network that begins where the range does and does not reach beyond it, and goes on behind.
func appendPrefixes(out []netip.Prefix, r Range) []netip.Prefix {
	for at := r.first; ; {
		a := at.address()
		p := netip.PrefixFrom(a, a.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || r.last.less(lastOf(wider)) {
				break
			}
			p = wider
		}
		out = append(out, p)
		if !lastOf(p).less(r.last) {
			return out
		}
		at = lastOf(p).next()
	}
}

// String is the set as addresses: as networks, or where that is shorter, as a network but some of it.
func (r Ranges) String() string {
	var out []string
	for _, family := range []Ranges{IPv4, IPv6} {
		of := r.And(family)
		if len(of) == 0 {
			continue
		}
		whole := of.cover()
		all, but := of.Prefixes(), Prefixes(whole).Minus(of).Prefixes()
		if len(but) > 0 && len(but)+1 < len(all) {
			out = append(out, fmt.Sprintf("%s but %s", whole, strings.Join(shortened(but...), ", ")))
			continue
		}
		out = append(out, shortened(all...)...)
	}
	return strings.Join(out, ", ")
}

// shortened are networks as text, single addresses as such.
func shortened(prefixes ...netip.Prefix) []string {
	var out []string
	for _, p := range prefixes {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
			continue
		}
		out = append(out, p.String())
	}
	return out
}

// cover is the smallest network around a set of addresses of one family.
func (r Ranges) cover() netip.Prefix {
	first, last := r[0].First(), r[len(r)-1].last
	p := netip.PrefixFrom(first, first.BitLen())
	for lastOf(p).less(last) {
		p = netip.PrefixFrom(first, p.Bits()-1).Masked()
	}
	return p
}

// Text is the set as protocols or ports; all of them are any.
func (r Ranges) Text() string {
	var out []string
	for _, v := range r {
		first, last := v.Numbers()
		switch {
		case first == 0 && last == 1<<16-1:
			return "any"
		case first == last:
			out = append(out, fmt.Sprint(first))
		default:
			out = append(out, fmt.Sprintf("%d-%d", first, last))
		}
	}
	return strings.Join(out, ", ")
}

// MarshalJSON writes the set as a list of networks.
func (r Ranges) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]netip.Prefix{}, r.Prefixes()...))
}
