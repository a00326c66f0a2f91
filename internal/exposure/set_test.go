package exposure

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func jsonOf(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// boxes draws a set, and what is in it as a function that knows nothing of sets.
func boxes(t *rapid.T, label string) (Set, func(Packet) bool) {
	var all [][dimensions]Ranges
	var set Set
	for range rapid.IntRange(0, 4).Draw(t, label) {
		m := randomMatch(t, 1)
		b := [dimensions]Ranges{destination: m.Destination, protocol: m.Protocol, port: m.Port, source: m.Source}
		all = append(all, b)
		set = set.Or(product(b))
	}
	return set, func(p Packet) bool {
		return slices.ContainsFunc(all, func(b [dimensions]Ranges) bool {
			for d, at := range p.points() {
				if b[d] != nil && !slices.ContainsFunc(b[d], func(r Range) bool { return r.first.compare(at) <= 0 && at.compare(r.last) <= 0 }) {
					return false
				}
			}
			return true
		})
	}
}

func TestSetAgainstBruteForce(t *testing.T) {
	packets := everyPacket()
	rapid.Check(t, func(t *rapid.T) {
		a, inA := boxes(t, "a")
		b, inB := boxes(t, "b")
		both, either, only := a.And(b), a.Or(b), a.Minus(b)
		for _, p := range packets {
			if a.Contains(p) != inA(p) || both.Contains(p) != (inA(p) && inB(p)) || either.Contains(p) != (inA(p) || inB(p)) ||
				only.Contains(p) != (inA(p) && !inB(p)) {
				t.Fatalf("packet %+v: a %v, b %v; and %v, or %v, minus %v", p, inA(p), inB(p), both.Contains(p), either.Contains(p), only.Contains(p))
			}
		}
	})
}

// TestSetAlgebra: equal sets look alike, however they were made.
func TestSetAlgebra(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := boxes(t, "a")
		b, _ := boxes(t, "b")
		c, _ := boxes(t, "c")
		for law, equal := range map[string]bool{
			"a∪b = b∪a":             a.Or(b).Equal(b.Or(a)),
			"a∩b = b∩a":             a.And(b).Equal(b.And(a)),
			"(a∪b)∪c = a∪(b∪c)":     a.Or(b).Or(c).Equal(a.Or(b.Or(c))),
			"a∩(b∪c) = a∩b ∪ a∩c":   a.And(b.Or(c)).Equal(a.And(b).Or(a.And(c))),
			"a∖(b∪c) = (a∖b)∖c":     a.Minus(b.Or(c)).Equal(a.Minus(b).Minus(c)),
			"(a∖b) ∪ (a∩b) = a":     a.Minus(b).Or(a.And(b)).Equal(a),
			"(a∖b) ∩ b = ∅":         a.Minus(b).And(b).Empty(),
			"a∖a = ∅":               a.Minus(a).Empty(),
			"all∖(all∖a) = all∩a":   Everything.Minus(Everything.Minus(a)).Equal(Everything.And(a)),
			"a = its cells":         ofCells(a).Equal(a),
			"a∩b ⊆ a":               a.And(b).Minus(a).Empty(),
			"a equals b only if so": a.Equal(b) == (a.Minus(b).Empty() && b.Minus(a).Empty()),
		} {
			if !equal {
				t.Fatalf("%s does not hold of\na = %s\nb = %s\nc = %s", law, jsonOf(a), jsonOf(b), jsonOf(c))
			}
		}
	})
}

func ofCells(s Set) Set {
	var out Set
	for _, c := range s.Cells() {
		out = out.Or(product([dimensions]Ranges{{c.Destination}, {c.Protocol}, {c.Port}, c.Sources}))
	}
	return out
}

// TestPrefixes: the networks of a set are that set, and no two of them are one.
func TestPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Ranges
		for range rapid.IntRange(0, 4).Draw(t, "ranges") {
			a, b := anyAddress(t), anyAddress(t)
			if a.BitLen() == b.BitLen() {
				r = r.Or(Between(a, b))
			}
			r = r.Or(Prefixes(netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))))
		}
		prefixes := r.Prefixes()
		if again := Prefixes(prefixes...); !slices.Equal(again, r) {
			t.Fatalf("%v makes %v of %v", prefixes, again, r)
		}
		for i := 1; i < len(prefixes); i++ {
			a, b := prefixes[i-1], prefixes[i]
			if wider := netip.PrefixFrom(a.Addr(), max(a.Bits()-1, 0)).Masked(); a.Bits() == b.Bits() && a.Bits() > 0 &&
				a.Addr() == wider.Addr() && wider.Contains(b.Addr()) {
				t.Fatalf("%s and %s are %s", a, b, wider)
			}
		}
	})
}

func anyAddress(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "IPv6") {
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))).Unmap()
	}
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
}

func TestRangesText(t *testing.T) {
	for want, have := range map[string]string{
		"0.0.0.0/0, ::/0":       IPv4.Or(IPv6).String(),
		"10.0.0.1, 10.0.0.2/31": Between(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.3")).String(),
		"":                      Ranges{}.String(),
		"22, 80-90":             Numbers(22, 22).Or(Numbers(80, 90)).Text(),
		"any":                   Numbers(0, 65535).Text(),
		"tcp":                   ProtocolText(Numbers(TCP, TCP)[0]),
		"tcp or 47":             "tcp or " + ProtocolText(Numbers(47, 47)[0]),
		"any protocol":          ProtocolText(anything[protocol][0]) + " protocol",
	} {
		if want != have {
			t.Errorf("%q, not %q", have, want)
		}
	}
}
