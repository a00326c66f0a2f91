package local

import (
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// partial is a part of what a rule matches. One that is not known to match in full may match.
type partial struct {
	exposure.Match
	maybe bool
}

// rule is an nft rule in our words: what it matches may take several of ours, in any order.
func (rs *ruleset) rule(r *nftRule, depth int) []exposure.Rule {
	matched := []partial{{}}
	var out []exposure.Rule
	for _, e := range r.Expr {
		for kind, body := range e {
			if met, is := rs.condition(r, kind, body); is {
				matched = both(matched, met)
				continue
			}
			before := matched
			for _, v := range rs.verdict(r, kind, body, depth) {
				if v.Maybe { // what was not understood may be a condition, too
					matched = both(matched, unknown)
				}
				for _, m := range both(before, []partial{{v.Match, v.Maybe}}) {
					v.Match, v.Maybe = m.Match, m.maybe
					if v.Why == "" {
						v.Why = r.why()
					}
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// both is what both of two lists match: nothing, if the result is empty.
func both(a, b []partial) []partial {
	var out []partial
	for _, x := range a {
		for _, y := range b {
			if m, ok := meet(x.Match, y.Match); ok {
				out = append(out, partial{m, x.maybe || y.maybe})
			}
		}
	}
	return out
}

// meet is the condition that both conditions are met; false if nothing can meet them.
func meet(a, b exposure.Match) (exposure.Match, bool) {
	possible := true
	ranges := func(x, y exposure.Ranges) exposure.Ranges {
		if len(x) == 0 || len(y) == 0 {
			return append(x, y...)
		}
		z := x.And(y)
		possible = possible && len(z) > 0
		return z
	}
	names := func(x, y []string) []string {
		if len(x) == 0 || len(y) == 0 {
			return append(x, y...)
		}
		z := slices.DeleteFunc(slices.Clone(x), func(n string) bool { return !slices.Contains(y, n) })
		possible = possible && len(z) > 0
		return z
	}
	out := exposure.Match{
		In: names(a.In, b.In), Out: names(a.Out, b.Out), Source: ranges(a.Source, b.Source), Destination: ranges(a.Destination, b.Destination),
		Protocol: ranges(a.Protocol, b.Protocol), Port: ranges(a.Port, b.Port), Translated: max(a.Translated, b.Translated),
	}
	if a.Translated != exposure.Either && b.Translated != exposure.Either && a.Translated != b.Translated {
		possible = false
	}
	return out, possible
}

// verdict is what a statement does; nothing, if it does nothing to packets.
func (rs *ruleset) verdict(r *nftRule, kind string, body any, depth int) []exposure.Rule {
	switch kind {
	case "accept":
		return []exposure.Rule{{Verdict: exposure.Accept}}
	case "drop", "reject":
		return []exposure.Rule{{Verdict: exposure.Drop}}
	case "return":
		return []exposure.Rule{{Verdict: exposure.Return}}
	case "continue", "counter", "log", "ct helper", "ct timeout", "notrack":
		return nil
	case "jump", "goto":
		return rs.jump(r, kind, body, depth)
	case "vmap":
		return rs.verdictMap(r, body, depth)
	case "dnat", "snat", "masquerade", "redirect":
		if rules, understood := rs.translation(r, kind, body); understood {
			return rules
		}
	case "mangle":
		if key := object(object(body)["key"]); key["meta"] != nil || key["ct"] != nil {
			return nil // a mark: what asks for marks is not understood anyway
		}
	}
	what := kind + " in " + r.why()
	return []exposure.Rule{anything(what), maybe(what)}
}

// jump asks another chain; goto does not come back.
func (rs *ruleset) jump(r *nftRule, kind string, body any, depth int) []exposure.Rule {
	name, _ := object(body)["target"].(string)
	c := rs.chain(r.Family, r.Table, name)
	if c == nil {
		return []exposure.Rule{anything(r.why()), maybe(r.why())}
	}
	out := []exposure.Rule{{Verdict: exposure.Jump, Rules: rs.rules(c, depth+1)}}
	if kind == "goto" {
		out = append(out, exposure.Rule{Verdict: exposure.Return})
	}
	return out
}

// verdictMap has a verdict for each of several values.
func (rs *ruleset) verdictMap(r *nftRule, body any, depth int) []exposure.Rule {
	var out []exposure.Rule
	key, pairs, understood := rs.pairs(r, body)
	if !understood {
		return []exposure.Rule{anything(r.why()), maybe(r.why())}
	}
	for _, p := range pairs {
		for kind, verdict := range object(p[1]) {
			for _, v := range rs.verdict(r, kind, verdict, depth) {
				for _, m := range both(rs.compare(r, "==", key, p[0]), []partial{{v.Match, v.Maybe}}) {
					v.Match, v.Maybe = m.Match, m.maybe
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// pairs are the elements of a map, named or written in place.
func (rs *ruleset) pairs(r *nftRule, body any) (key any, pairs [][2]any, understood bool) {
	m := object(body)
	elements, ok := object(m["data"])["set"].([]any)
	if name, named := m["data"].(string); named && len(name) > 1 {
		elements, ok = rs.sets[r.scope(name[1:])]
	}
	if !ok {
		return nil, nil, false
	}
	for _, e := range elements {
		p, _ := e.([]any)
		if len(p) != 2 {
			return nil, nil, false
		}
		pairs = append(pairs, [2]any{p[0], p[1]})
	}
	return m["key"], pairs, true
}

// translation is NAT. A masquerade is some address of this namespace's own, as is where a redirect leads.
func (rs *ruleset) translation(r *nftRule, kind string, body any) ([]exposure.Rule, bool) {
	b := object(body)
	out := exposure.Rule{Verdict: exposure.Translate}
	if b["port"] != nil {
		ports, ok := values(b["port"], portValue)
		if !ok {
			return nil, false
		}
		if kind == "dnat" || kind == "redirect" {
			out.To.Port = ports
		}
	}
	switch b["family"] {
	case "ip":
		out.Destination = exposure.IPv4
	case "ip6":
		out.Destination = exposure.IPv6
	}
	at := &out.To.Destination
	if kind == "snat" || kind == "masquerade" {
		at = &out.To.Source
	}
	if kind == "masquerade" || kind == "redirect" {
		*at = rs.own
		return []exposure.Rule{out}, len(rs.own) > 0
	}
	if m := object(b["addr"])["map"]; m != nil {
		return rs.translationMap(r, out, kind, m)
	}
	if b["addr"] == nil {
		return []exposure.Rule{out}, len(out.To.Port) > 0
	}
	addresses, ok := values(b["addr"], addressValue)
	*at = addresses
	return []exposure.Rule{out}, ok
}

// translationMap has an address for each of several values. Of a key that is not understood, any may be it.
func (rs *ruleset) translationMap(r *nftRule, rule exposure.Rule, kind string, m any) ([]exposure.Rule, bool) {
	key, pairs, understood := rs.pairs(r, m)
	if !understood {
		return nil, false
	}
	var out []exposure.Rule
	for _, p := range pairs {
		addresses, ok := values(p[1], addressValue)
		if !ok {
			return nil, false
		}
		for _, match := range both([]partial{{rule.Match, false}}, rs.compare(r, "==", key, p[0])) {
			rule := rule
			rule.Match, rule.Maybe = match.Match, match.maybe
			if kind == "snat" {
				rule.To.Source = addresses
			} else {
				rule.To.Destination = addresses
			}
			out = append(out, rule)
		}
	}
	return out, true
}
