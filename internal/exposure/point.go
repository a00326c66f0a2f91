package exposure

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// point is an address, a protocol or a port: whatever packets are told apart by. All IPv4 addresses come before all of IPv6.
type point struct{ family, high, low uint64 }

const lastOfIPv4 = 1<<32 - 1

// number is the point of a protocol or a port.
func number(n uint16) point { return point{low: uint64(n)} }

func pointOf(a netip.Addr) point {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return point{low: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return point{1, binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (p point) address() netip.Addr {
	if p.family == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(p.low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], p.high)
	binary.BigEndian.PutUint64(b[8:], p.low)
	return netip.AddrFrom16(b)
}

func (p point) compare(q point) int {
	if c := cmp.Compare(p.family, q.family); c != 0 {
		return c
	}
	if c := cmp.Compare(p.high, q.high); c != 0 {
		return c
	}
	return cmp.Compare(p.low, q.low)
}

func (p point) less(q point) bool { return p.compare(q) < 0 }

// next is the point after; the last has none, and nobody asks for it.
func (p point) next() point {
	switch {
	case p.family == 0 && p.low == lastOfIPv4:
		return point{family: 1}
	case p.low == 1<<64-1:
		return point{p.family, p.high + 1, 0}
	}
	return point{p.family, p.high, p.low + 1}
}

// previous is the point before; the first has none.
func (p point) previous() point {
	switch {
	case p.family == 1 && p.high == 0 && p.low == 0:
		return point{low: lastOfIPv4}
	case p.low == 0:
		return point{p.family, p.high - 1, 1<<64 - 1}
	}
	return point{p.family, p.high, p.low - 1}
}

// follows says whether nothing is between the end of one span and the beginning of another.
func (p point) follows(q point) bool { return q.less(p) && q.next() == p }
