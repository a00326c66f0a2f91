package local

import (
	"math"
	"net/netip"

	"ashlar.dev/ashlar/internal/exposure"
)

// valueParser reads one value; false if it cannot.
type valueParser func(any) (exposure.Ranges, bool)

// values reads a value, a range, a network, or a list of them.
func values(v any, parse valueParser) (exposure.Ranges, bool) {
	var out exposure.Ranges
	for _, e := range listed(v) {
		r, ok := value(e, parse)
		if !ok {
			return nil, false
		}
		out = out.Or(r)
	}
	return out, true
}

func value(e any, parse valueParser) (exposure.Ranges, bool) {
	o := object(e)
	if inner := object(o["elem"])["val"]; inner != nil { // with a time-out, a counter or a comment
		return value(inner, parse)
	}
	if ends, ok := o["range"].([]any); ok && len(ends) == 2 {
		first, ok1 := parse(ends[0])
		last, ok2 := parse(ends[1])
		if !ok1 || !ok2 {
			return nil, false
		}
		r := exposure.FromTo(first, last)
		return r, len(r) > 0
	}
	if p := object(o["prefix"]); len(p) > 0 {
		a, _ := p["addr"].(string)
		bits, ok := p["len"].(float64)
		address, err := netip.ParseAddr(a)
		if err != nil || !ok {
			return nil, false
		}
		prefix := netip.PrefixFrom(address, int(bits))
		return exposure.Prefixes(prefix), prefix.IsValid()
	}
	return parse(e)
}

func addressValue(v any) (exposure.Ranges, bool) {
	s, _ := v.(string)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return nil, false
	}
	return exposure.Addresses(a), true
}

func portValue(v any) (exposure.Ranges, bool) {
	n, ok := v.(float64)
	if !ok || n < 0 || n > math.MaxUint16 || n != math.Trunc(n) {
		return nil, false
	}
	return exposure.Numbers(uint16(n), uint16(n)), true
}

// protocolsNamed are those that nft has names for.
var protocolsNamed = map[string]uint16{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"ipv6-icmp": 58, "icmpv6": 58, "comp": 108, "sctp": 132, "udplite": 136}

func protocolValue(v any) (exposure.Ranges, bool) {
	if s, ok := v.(string); ok {
		n, ok := protocolsNamed[s]
		return exposure.Numbers(n, n), ok
	}
	r, ok := portValue(v)
	return r, ok && len(r.And(allProtocols)) > 0
}

func familyValue(v any) (exposure.Ranges, bool) {
	switch v {
	case "ipv4", "ip":
		return exposure.IPv4, true
	case "ipv6", "ip6":
		return exposure.IPv6, true
	}
	return nil, false
}

// listed are the elements of a set, or the value alone.
func listed(v any) []any {
	if s, ok := object(v)["set"]; ok {
		list, _ := s.([]any)
		return list
	}
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}
