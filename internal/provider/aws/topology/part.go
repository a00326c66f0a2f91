package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// part is a resource, or a block of one.
type part struct {
	at      string // the resource's address
	values  map[string]any
	written func(string) bool
}

func partOf(r *symbol.Resource) part { return part{r.Address, r.Values, r.Says} }

// vague says whether nothing is known of an attribute.
func (p part) vague(name string) bool {
	_, unknown := p.values[name].(symbol.Unknown)
	return unknown
}

// left says whether an attribute is left to AWS.
func (p part) left(name string) bool {
	s, named := p.values[name].(string)
	return p.values[name] == nil || named && (s == "" || strings.HasPrefix(s, symbol.Symbol(p.at, "")))
}

// text is an attribute; nothing if there is none, or nothing is known of it.
func (p part) text(name string) string {
	switch v := p.values[name].(type) {
	case nil, symbol.Unknown, []any, map[string]any:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// texts are the elements of an attribute, as far as they are known.
func (p part) texts(name string) (all []string, sure bool) {
	if p.left(name) {
		return nil, true
	}
	list, ok := p.values[name].([]any)
	for _, v := range list {
		s, is := v.(string)
		if ok = ok && is; is {
			all = append(all, s)
		}
	}
	return all, ok
}

// truth of an attribute, which has an own value if it is left to AWS.
func (p part) truth(name string, otherwise truth) truth {
	if p.left(name) {
		return otherwise
	}
	switch p.text(name) {
	case "true":
		return yes
	case "false":
		return no
	}
	return perhaps
}

// truth is yes, no or perhaps.
type truth int

const (
	no truth = iota
	perhaps
	yes
)

// number is a whole one.
func (p part) number(name string) (int, bool) {
	n, err := strconv.Atoi(p.text(name))
	return n, err == nil
}

// parts are blocks of a kind, or nothing if AWS says which there are; sure says whether these are all, as they will be.
func (p part) parts(name string) (all []part, sure bool) {
	if p.left(name) || p.written != nil && !p.written(name) {
		return nil, true
	}
	list, ok := p.values[name].([]any)
	for _, v := range list {
		values, is := v.(map[string]any)
		if ok = ok && is; is {
			all = append(all, part{at: p.at, values: values})
		}
	}
	return all, ok
}

// block is the first of a kind.
func (p part) block(name string) (part, bool) {
	all, sure := p.parts(name)
	if len(all) == 0 {
		return part{at: p.at}, sure
	}
	return all[0], sure
}

func (p part) tag(name string) string {
	for _, tags := range []string{"tags_all", "tags"} {
		if all, ok := p.values[tags].(map[string]any); ok {
			if s, ok := all[name].(string); ok {
				return s
			}
		}
	}
	return ""
}

// prefixes are the networks that an attribute names, which is a text or a list.
func (p part) prefixes(names ...string) (all []netip.Prefix, sure bool) {
	sure = true
	for _, name := range names {
		list := []string{p.text(name)}
		if _, one := p.values[name].(string); !one {
			var known bool
			list, known = p.texts(name)
			sure = sure && known
		}
		for _, s := range list {
			if s == "" {
				continue
			}
			x, err := netip.ParsePrefix(s)
			if err != nil {
				sure = false
				continue
			}
			all = append(all, x.Masked())
		}
	}
	return all, sure
}

func (p part) address(name string) netip.Addr {
	a, err := netip.ParseAddr(p.text(name))
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// protocol is what a rule means by its name or number: nothing is any.
func protocol(name string) (r exposure.Ranges, sure bool) {
	switch name = strings.ToLower(name); name {
	case "-1", "all":
		return nil, true
	case "icmpv6":
		return exposure.Numbers(exposure.ICMPv6, exposure.ICMPv6), true
	}
	n, ok := exposure.ProtocolNumber(name)
	if name == "" || !ok {
		return nil, false
	}
	return exposure.Numbers(uint16(n), uint16(n)), true
}

// ports of a rule: those of ICMP are kinds of messages, and not told apart.
func (p part) ports(name string, from, to string) (r exposure.Ranges, sure bool) {
	if p.vague(from) || p.vague(to) {
		return nil, false
	}
	if !slices.Contains([]string{"tcp", "udp", "6", "17", "sctp", "132"}, strings.ToLower(p.text(name))) {
		return nil, true
	}
	first, some := p.number(from)
	last, other := p.number(to)
	if !some || !other || first < 0 || last > 65535 || last < 0 {
		return nil, true
	}
	return exposure.Numbers(uint16(first), uint16(last)), true
}
