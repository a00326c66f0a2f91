package authz

import (
	"slices"
	"strings"
)

// regions divides all paths by the patterns of the policies: each path that is named, and for each prefix the paths
// under it that no longer prefix has and that are not named. Patterns are names of regions: "/a" is itself, "/a*" the
// rest under it. What is under no prefix but the empty one has no name, as in every Set.
type regions []string // sorted

func newRegions(policies []*Policy) regions {
	seen := map[string]bool{}
	for _, p := range policies {
		for _, g := range p.Grants {
			for _, pattern := range g.Rule.Paths {
				seen[normal(pattern)] = true
			}
		}
	}
	delete(seen, "*")
	delete(seen, "") // no request is for the empty path
	out := make(regions, 0, len(seen))
	for pattern := range seen {
		out = append(out, pattern)
	}
	slices.Sort(out)
	return out
}

// normal has one star at most.
func normal(pattern string) string {
	prefix, wild := pathPrefix(pattern)
	if wild {
		return prefix + "*"
	}
	return pattern
}

// under returns the regions that a pattern has: "*" for all there are.
func (rs regions) under(pattern string) []string {
	prefix, wild := pathPrefix(pattern)
	switch {
	case !wild && pattern == "":
		return nil
	case !wild, prefix == "":
		return []string{normal(pattern)}
	}
	from, _ := slices.BinarySearch(rs, prefix)
	to := from
	for to < len(rs) && strings.HasPrefix(rs[to], prefix) {
		to++
	}
	return rs[from:to]
}

// paths writes a set of regions as patterns, the shortest way: what differs from what is around it.
func (rs regions) paths(s Set) Paths {
	var out Paths
	if s.Except {
		out.In = append(out.In, "*")
	}
	for _, r := range rs {
		in := s.Has(r)
		if in == rs.around(r, s) {
			continue
		}
		if in {
			out.In = append(out.In, r)
		} else {
			out.Out = append(out.Out, r)
		}
	}
	return out
}

// around says whether the nearest region around one is in the set.
func (rs regions) around(region string, s Set) bool {
	prefix, _ := pathPrefix(region)
	end := len(prefix)
	if strings.HasSuffix(region, "*") {
		end--
	}
	for ; end > 0; end-- {
		if _, found := slices.BinarySearch(rs, prefix[:end]+"*"); found {
			return s.Has(prefix[:end] + "*")
		}
	}
	return s.Except
}
