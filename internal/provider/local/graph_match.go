package local

import (
	"math"
	"path"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/exposure"
)

// unknown may match, and may not.
var unknown = []partial{{maybe: true}}

// condition is what an expression of a rule matches, if it is one.
func (rs *ruleset) condition(r *nftRule, kind string, body any) ([]partial, bool) {
	switch kind {
	case "match":
		m := object(body)
		op, _ := m["op"].(string)
		return rs.compare(r, op, m["left"], m["right"]), true
	case "limit", "quota", "ct count", "meter", "last", "socket", "osf", "tunnel":
		return unknown, true
	}
	return nil, false
}

// compare is what meets a comparison.
func (rs *ruleset) compare(r *nftRule, op string, left, right any) []partial {
	right, ok := rs.named(r, right)
	if !ok {
		return unknown
	}
	for kind, what := range object(left) {
		switch w := object(what); kind {
		case "payload":
			protocol, _ := w["protocol"].(string)
			field, _ := w["field"].(string)
			return payload(protocol, field, op, right)
		case "meta":
			key, _ := w["key"].(string)
			return rs.meta(key, op, right)
		case "ct":
			key, _ := w["key"].(string)
			return rs.connection(key, op, right)
		case "concat":
			fields, _ := what.([]any)
			return rs.concatenation(r, fields, op, right)
		}
	}
	return unknown
}

// named puts the elements of a set for its name.
func (rs *ruleset) named(r *nftRule, right any) (any, bool) {
	name, is := right.(string)
	if !is || !strings.HasPrefix(name, "@") {
		return right, true
	}
	elements, ok := rs.sets[r.scope(name[1:])]
	return map[string]any{"set": elements}, ok
}

// concatenation matches several fields at once: one partial for each element.
func (rs *ruleset) concatenation(r *nftRule, fields []any, op string, right any) []partial {
	if op != "==" {
		return unknown
	}
	var out []partial
	for _, e := range listed(right) {
		parts, ok := object(e)["concat"].([]any)
		if !ok || len(parts) != len(fields) {
			return unknown
		}
		all := []partial{{}}
		for i := range fields {
			all = both(all, rs.compare(r, "==", fields[i], parts[i]))
		}
		out = append(out, all...)
	}
	return out
}

var (
	allPorts     = exposure.Numbers(0, math.MaxUint16)
	allProtocols = exposure.Numbers(0, math.MaxUint8)
	allAddresses = exposure.IPv4.Or(exposure.IPv6)
)

func payload(protocol, field, op string, right any) []partial {
	in := func(set func(exposure.Ranges) exposure.Match, whole exposure.Ranges, parse valueParser) []partial {
		return within(op, right, set, whole, parse)
	}
	switch protocol {
	case "ip", "ip6":
		family := map[string]exposure.Ranges{"ip": exposure.IPv4, "ip6": exposure.IPv6}[protocol]
		switch {
		case field == "saddr":
			return in(func(r exposure.Ranges) exposure.Match { return exposure.Match{Source: r} }, family, addressValue)
		case field == "daddr":
			return in(func(r exposure.Ranges) exposure.Match { return exposure.Match{Destination: r} }, family, addressValue)
		case field == "protocol":
			return in(func(r exposure.Ranges) exposure.Match { return exposure.Match{Destination: family, Protocol: r} }, allProtocols, protocolValue)
		}
		return []partial{{exposure.Match{Destination: family}, true}}
	case "th":
		if field == "dport" {
			return in(func(r exposure.Ranges) exposure.Match { return exposure.Match{Port: r} }, allPorts, portValue)
		}
		return unknown
	}
	p, ok := protocolValue(protocol)
	if !ok {
		return unknown
	}
	if field == "dport" {
		return in(func(r exposure.Ranges) exposure.Match { return exposure.Match{Protocol: p, Port: r} }, allPorts, portValue)
	}
	return []partial{{exposure.Match{Protocol: p}, true}}
}

func (rs *ruleset) meta(key, op string, right any) []partial {
	switch key {
	case "l4proto":
		return within(op, right, func(r exposure.Ranges) exposure.Match { return exposure.Match{Protocol: r} }, allProtocols, protocolValue)
	case "nfproto", "protocol":
		return within(op, right, func(r exposure.Ranges) exposure.Match { return exposure.Match{Destination: r} }, allAddresses, familyValue)
	case "iifname", "iif", "oifname", "oif":
		names, ok := rs.linksNamed(op, right)
		switch {
		case !ok:
			return unknown
		case len(names) == 0:
			return nil
		case strings.HasPrefix(key, "i"):
			return []partial{{Match: exposure.Match{In: names}}}
		}
		return []partial{{Match: exposure.Match{Out: names}}}
	}
	return unknown
}

// linksNamed are the links that a comparison of names is met by.
func (rs *ruleset) linksNamed(op string, right any) ([]string, bool) {
	if op != "==" && op != "!=" {
		return nil, false
	}
	var out []string
	for _, link := range rs.links {
		is := false
		for _, v := range listed(right) {
			name, ok := v.(string)
			if !ok {
				return nil, false
			}
			matched, err := path.Match(name, link)
			is = is || matched && err == nil || name == link
		}
		if is == (op == "==") {
			out = append(out, link)
		}
	}
	return out, true
}

// connection is what the first packet of a connection meets of conditions on the connection's state.
func (rs *ruleset) connection(key, op string, right any) []partial {
	if rs.untracked || op != "==" && op != "!=" && op != "in" {
		return unknown
	}
	var names []string
	for _, v := range listed(right) {
		name, ok := v.(string)
		if !ok {
			return unknown
		}
		names = append(names, name)
	}
	switch {
	case key == "state" && slices.Contains(names, "new"):
		return metIf(op != "!=")
	case key == "state" && !slices.ContainsFunc(names, func(n string) bool { return n != "established" && (n != "related" || rs.helpers) }):
		return metIf(op == "!=")
	case key == "status" && slices.Equal(names, []string{"dnat"}):
		is := exposure.Yes
		if op == "!=" {
			is = exposure.No
		}
		return []partial{{Match: exposure.Match{Translated: is}}}
	case key == "direction" && len(names) == 1:
		return metIf((names[0] == "original") == (op != "!="))
	}
	return unknown
}

func metIf(met bool) []partial {
	if met {
		return []partial{{}}
	}
	return nil
}

// within is what meets a comparison of one quantity, of which whole is all there is.
func within(op string, right any, set func(exposure.Ranges) exposure.Match, whole exposure.Ranges, parse valueParser) []partial {
	r, ok := values(right, parse)
	if !ok {
		return []partial{{set(whole), true}}
	}
	switch op {
	case "==", "in":
		r = r.And(whole)
	case "!=":
		r = whole.Minus(r)
	case "<", ">", "<=", ">=":
		if r, ok = beside(op, r, whole); !ok {
			return []partial{{set(whole), true}}
		}
	default:
		return []partial{{set(whole), true}}
	}
	if len(r) == 0 {
		return nil
	}
	return []partial{{Match: set(r)}}
}

// beside is what is less or more than a single port or protocol.
func beside(op string, than, whole exposure.Ranges) (exposure.Ranges, bool) {
	if len(than) != 1 {
		return nil, false
	}
	n, last := than[0].Numbers()
	if n != last || len(whole.Minus(allPorts)) > 0 {
		return nil, false // of addresses there is no less and more that anybody would write
	}
	below := exposure.Numbers(0, n)
	if n == 0 && op == "<" {
		return nil, true
	}
	switch op {
	case "<":
		return exposure.Numbers(0, n-1).And(whole), true
	case "<=":
		return below.And(whole), true
	case ">":
		return whole.Minus(below), true
	}
	return whole.Minus(below).Or(than), true
}
