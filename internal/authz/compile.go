package authz

import (
	"maps"
	"slices"
	"strings"
)

// The attributes of a request for an object, in the order in which they are looked at, and of one for a path.
const (
	dimNamespace = iota
	dimName
	dimAPIGroup
	dimSubresource
	dimResource
	dimVerb
	objectDims

	dimPath     = 0
	dimPathVerb = 1
	pathDims    = 2
)

// compiler turns grants into cells.
type compiler struct {
	words   interned[string]
	objects *diagrams
	paths   *diagrams
	regions regions
	rules   map[*Rule]compiled
}

// compiled are a rule's cells; those for objects lack the namespace.
type compiled struct{ objects, paths []int32 }

func newCompiler(policies ...*Policy) *compiler {
	c := &compiler{
		words:   newInterned(func(s string) string { return s }),
		objects: newDiagrams(), paths: newDiagrams(), rules: map[*Rule]compiled{},
	}
	c.regions = newRegions(policies)
	for _, w := range vocabulary(policies) {
		c.words.of(w)
	}
	return c
}

// vocabulary is all that the policies say of requests, sorted: numbers of words, and with them what a comparison looks
// like, then depend on nothing else.
func vocabulary(policies []*Policy) []string {
	seen, rules := map[string]bool{}, map[*Rule]bool{}
	for _, p := range policies {
		for _, g := range p.Grants {
			seen[g.Namespace] = true
			if rules[g.Rule] {
				continue
			}
			rules[g.Rule] = true
			for _, list := range [...][]string{g.Rule.Verbs, g.Rule.APIGroups, g.Rule.ResourceNames, g.Rule.Paths} {
				for _, w := range list {
					seen[w] = true
				}
			}
			for sub, resources := range bySubresource(g.Rule) {
				seen[sub] = true
				for _, w := range resources {
					seen[w] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// values returns a set's number; one that has a "*" is everything, where that means so.
func (c *compiler) values(d *diagrams, of []string, star bool) int32 {
	if star && slices.Contains(of, "*") {
		return everything
	}
	ids := make([]int32, len(of))
	for i, v := range of {
		ids[i] = c.words.of(v)
	}
	return d.sets.of(sorted(ids))
}

func (c *compiler) rule(r *Rule) compiled {
	if out, ok := c.rules[r]; ok {
		return out
	}
	var out compiled
	if len(r.Verbs) > 0 {
		out = compiled{objects: c.objectCells(r), paths: c.pathCells(r)}
	}
	c.rules[r] = out
	return out
}

func (c *compiler) objectCells(r *Rule) []int32 {
	if len(r.APIGroups) == 0 {
		return nil
	}
	d, names := c.objects, int32(everything)
	if len(r.ResourceNames) > 0 {
		names = c.values(d, r.ResourceNames, false)
	}
	verbs := d.cell(c.values(d, r.Verbs, true), end)
	groups := c.values(d, r.APIGroups, true)

	var out []int32
	bySub := bySubresource(r)
	for _, sub := range slices.Sorted(maps.Keys(bySub)) {
		resources, subs := bySub[sub], int32(everything)
		if sub != anySubresource {
			subs = c.values(d, []string{sub}, false)
		}
		out = append(out, d.cell(names, d.cell(groups, d.cell(subs, d.cell(c.values(d, resources, true), verbs)))))
	}
	return sorted(out)
}

// anySubresource is no name of a subresource.
const anySubresource = "*/"

// bySubresource sorts a rule's resources by the subresource that they are of. Patterns that no request can match, as no
// resource's name has a slash or is empty, are left out.
func bySubresource(r *Rule) map[string][]string {
	out := map[string][]string{}
	for _, pattern := range r.Resources {
		resource, sub, slash := strings.Cut(pattern, "/")
		switch {
		case pattern == "*":
			out[anySubresource] = append(out[anySubresource], "*")
		case resource == "" || slash && (sub == "" || r.AnySubresource):
		case r.AnySubresource:
			out[anySubresource] = append(out[anySubresource], resource)
		default:
			out[sub] = append(out[sub], resource) // of "*/scale" the star is everything
		}
	}
	return out
}

func (c *compiler) pathCells(r *Rule) []int32 {
	var values []string
	for _, pattern := range r.Paths {
		values = append(values, c.regions.under(pattern)...)
	}
	if len(values) == 0 {
		return nil
	}
	d := c.paths
	return []int32{d.cell(c.values(d, values, true), d.cell(c.values(d, r.Verbs, true), end))}
}

// cells are what a principal is granted.
type cells struct{ objects, paths []int32 }

// grants returns what a policy grants each principal.
func (c *compiler) grants(p *Policy) map[Principal]*cells {
	out := map[Principal]*cells{}
	for i := range p.Grants {
		g := &p.Grants[i]
		of := out[g.Principal]
		if of == nil {
			of = new(cells)
			out[g.Principal] = of
		}
		compiled, namespace := c.rule(g.Rule), int32(everything)
		if !g.Everywhere {
			namespace = c.values(c.objects, []string{g.Namespace}, false)
		}
		for _, cell := range compiled.objects {
			of.objects = append(of.objects, c.objects.cell(namespace, cell))
		}
		if g.Everywhere || g.Namespace == "" { // a path is in no namespace
			of.paths = append(of.paths, compiled.paths...)
		}
	}
	for _, of := range out {
		of.objects, of.paths = sorted(of.objects), sorted(of.paths)
	}
	return out
}
