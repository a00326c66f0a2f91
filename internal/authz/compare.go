package authz

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// Comparison divides all requests that either of two policies allows: what only the second allows (widened), what only
// the first (narrowed), and what both (equal).
type Comparison struct {
	Widened  []Difference `json:"widened"`
	Narrowed []Difference `json:"narrowed"`
	Equal    []Difference `json:"equal"`
}

// Difference is a set of requests of some subjects with one outcome. A subject that meets several principals'
// conditions has the differences of all, less what another of its principals makes good.
type Difference struct {
	Principals []Principal `json:"principals"`
	// Own: of the box's namespaces, each principal has its own only.
	Own bool `json:"own,omitempty"`
	Box
	// Dangers are what makes it worth reading first, the worst first.
	Dangers []string `json:"dangers,omitempty"`
	// Witness is one of the requests, by the first of the principals.
	Witness Request `json:"witness"`
}

// Compare returns what changes for whom when policy b takes the place of policy a, the most dangerous first.
func Compare(a, b *Policy) Comparison {
	c := newComparer(a, b)
	principals := slices.Collect(maps.Keys(c.sides[0]))
	for p := range c.sides[1] {
		if c.sides[0][p] == nil {
			principals = append(principals, p)
		}
	}
	slices.SortFunc(principals, func(a, b Principal) int { return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Group, b.Group)) })
	for _, p := range principals {
		if s, possible := p.least(c.fresh); possible {
			c.add(p, s, c.question(p, s))
		}
	}
	return c.comparison()
}

// CompareFor does the same for one subject, with all of its groups at once.
func CompareFor(a, b *Policy, s Subject) Comparison {
	c := newComparer(a, b)
	var q [2]question
	for _, p := range s.principals() {
		c.share(p, &q, 0)
	}
	c.add(Principal{User: s.User}, s, q)
	return c.comparison()
}

// Can returns all that a subject may do.
func Can(p *Policy, s Subject) []Difference { return CompareFor(p, p, s).Equal }

type comparer struct {
	*compiler
	fresh string
	sides [2]map[Principal]*cells
	found [outcomes]map[boxKey]*finding
	order [outcomes][]*finding

	known   map[nodeKey][]product
	written map[nodeKey]Set
}

func newComparer(a, b *Policy) *comparer {
	c := &comparer{compiler: newCompiler(a, b), known: map[nodeKey][]product{}, written: map[nodeKey]Set{}}
	c.sides = [2]map[Principal]*cells{c.grants(a), c.grants(b)}
	c.fresh = c.freshWord(a, b)
	for i := range c.found {
		c.found[i] = map[boxKey]*finding{}
	}
	return c
}

// freshWord is a name that nothing in the policies says, alone or in a longer one.
func (c *comparer) freshWord(policies ...*Policy) string {
	taken := map[string]bool{}
	for _, w := range c.words.all {
		taken[w] = true
	}
	for _, p := range policies {
		for _, g := range p.Grants {
			taken[g.User], taken[g.Group] = true, true
			for _, part := range [...]string{g.User, g.Group} {
				namespace, _ := serviceAccountNamespace(part)
				taken[namespace] = true
				taken[part[1+lastColon(part):]] = true
			}
		}
	}
	word := "anything-else"
	for i := 2; taken[word]; i++ {
		word = "anything-else-" + strconv.Itoa(i)
	}
	return word
}

func lastColon(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ':' {
			return i
		}
	}
	return -1
}

// question is what the policies grant to a principal, and to the others whose conditions its least subject meets: first
// of objects, then of paths.
func (c *comparer) question(of Principal, s Subject) (q [2]question) {
	for _, p := range s.principals() {
		rest := 0
		if p != of {
			rest = 2
		}
		c.share(p, &q, rest)
	}
	return q
}

// share adds a principal's grants to the lists from the given one on.
func (c *comparer) share(p Principal, q *[2]question, list int) {
	for side := range c.sides {
		if granted := c.sides[side][p]; granted != nil {
			objects, paths := q[0].lists()[list+side], q[1].lists()[list+side]
			*objects = sorted(append(*objects, granted.objects...))
			*paths = sorted(append(*paths, granted.paths...))
		}
	}
}

func (c *comparer) add(p Principal, s Subject, q [2]question) {
	for i, paths := range []bool{false, true} {
		d := c.diagram(paths)
		node := d.compare(0, q[i])
		for _, outcome := range []int32{widened, narrowed, equal} {
			for _, product := range c.products(d.only(outcome, node), paths) {
				c.file(outcome, p, s, product, paths)
			}
		}
	}
}

// file puts a principal to the others that have the same product, or the same but for its own namespace.
func (c *comparer) file(outcome int32, p Principal, s Subject, product product, paths bool) {
	k := boxKey{product: product, paths: paths}
	home, hasHome := p.home()
	if k.own = hasHome && !paths && c.isJust(product[dimNamespace], home); k.own {
		k.product[dimNamespace] = 0
	}
	f := c.found[outcome][k]
	if f == nil {
		f = &finding{key: k, product: product, least: s}
		c.found[outcome][k] = f
		c.order[outcome] = append(c.order[outcome], f)
	}
	f.principals = append(f.principals, p)
}

// finding becomes a Difference once all of its principals are known.
type finding struct {
	key        boxKey
	product    product // of the first of the principals
	least      Subject // the same
	principals []Principal
}

func (c *comparer) comparison() Comparison {
	return Comparison{Widened: c.differences(widened), Narrowed: c.differences(narrowed), Equal: c.differences(equal)}
}

func (c *comparer) differences(outcome int) []Difference {
	out := make([]Difference, 0, len(c.order[outcome]))
	for _, f := range c.order[outcome] {
		d := Difference{Principals: f.principals, Own: f.key.own, Box: c.box(f.product, f.key.paths)}
		d.Dangers = dangersOf(&d.Box)
		d.Witness = witness(&d.Box, f.least, c.fresh)
		if d.Own {
			d.Namespaces = homes(d.Principals)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, byDanger)
	return out
}

func homes(principals []Principal) Set {
	var out Set
	for _, p := range principals {
		home, _ := p.home()
		out.Values = append(out.Values, home)
	}
	slices.Sort(out.Values)
	out.Values = slices.Compact(out.Values)
	return out
}
