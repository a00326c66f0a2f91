package authz

import "slices"

// boxKey is a product of objects or of paths, and whether its namespace is anybody's own.
type boxKey struct {
	product
	paths, own bool
}

// products returns the requests that lead a node of objects, or of paths, to equal.
func (c *comparer) products(node int32, paths bool) []product {
	k := nodeKey{node, paths}
	out, ok := c.known[k]
	if !ok {
		d := c.diagram(paths)
		out = d.merged(d.products(node))
		c.known[k] = out
	}
	return out
}

// nodeKey is a node of one of the two diagrams.
type nodeKey struct {
	node  int32
	paths bool
}

func (c *comparer) diagram(paths bool) *diagrams {
	if paths {
		return c.paths
	}
	return c.objects
}

// box has words for a product's numbers.
func (c *comparer) box(p product, paths bool) Box {
	if paths {
		return Box{Paths: c.regions.paths(c.set(p[dimPath], true)), Verbs: c.set(p[dimPathVerb], true)}
	}
	return Box{
		Namespaces: c.set(p[dimNamespace], false), Names: c.set(p[dimName], false), Subresources: c.set(p[dimSubresource], false),
		Resources: c.set(p[dimResource], false), APIGroups: c.set(p[dimAPIGroup], false), Verbs: c.set(p[dimVerb], false),
	}
}

// set has words for the numbers of a part.
func (c *comparer) set(number int32, paths bool) Set {
	k := nodeKey{number, paths}
	if out, ok := c.written[k]; ok {
		return out
	}
	p := c.diagram(paths).parts.all[number]
	out := Set{Except: p.except}
	for _, v := range p.values {
		out.Values = append(out.Values, c.words.all[v])
	}
	slices.Sort(out.Values)
	c.written[k] = out
	return out
}

// isJust says whether a part is one word.
func (c *comparer) isJust(number int32, word string) bool {
	p := c.objects.parts.all[number]
	return !p.except && len(p.values) == 1 && c.words.all[p.values[0]] == word
}
