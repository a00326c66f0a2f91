package exposure

import "net/netip"

// regions are what each route takes: its network without those of more specific routes.
func regions(routes []Route) []Ranges {
	byLength := map[int][]netip.Prefix{} // of both families: none of either is within one of the other
	for _, r := range routes {
		if !r.Maybe {
			byLength[r.Prefix.Bits()] = append(byLength[r.Prefix.Bits()], r.Prefix)
		}
	}
	longer := map[int]Ranges{}
	var so Ranges
	for bits := 128; bits >= 0; bits-- {
		longer[bits] = so
		if len(byLength[bits]) > 0 {
			so = so.Or(Prefixes(byLength[bits]...))
		}
	}
	out := make([]Ranges, len(routes))
	for i, r := range routes {
		out[i] = Prefixes(r.Prefix)
		if !r.Maybe {
			out[i] = out[i].Minus(longer[r.Prefix.Bits()])
		}
	}
	return out
}
