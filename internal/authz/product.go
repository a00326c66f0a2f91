package authz

import "slices"

// part is a set of values, or of all but these.
type part struct {
	values []int32 // sorted
	except bool
}

func (p part) key() string {
	if p.except {
		return "-" + key(p.values)
	}
	return key(p.values)
}

// product is a part for each attribute, by its number. Attributes that are not there are everything.
type product [objectDims]int32

// products returns disjoint products of all requests that lead a node to equal.
func (d *diagrams) products(id int32) []product {
	switch id {
	case nothing:
		return nil
	case equal:
		return []product{{}}
	}
	var out []product
	n := d.nodes[id-outcomes]
	under := func(p part, child int32) {
		number := d.parts.of(p)
		for _, product := range d.products(child) {
			product[n.level] = number
			out = append(out, product)
		}
	}
	var named []int32
	for _, e := range n.edges {
		named = append(named, e.values...)
		under(part{values: e.values}, e.child)
	}
	if n.other != nothing {
		under(part{sorted(named), true}, n.other)
	}
	return out
}

// merged joins products that differ in one attribute, as long as there are any.
func (d *diagrams) merged(products []product) []product {
	for {
		before := len(products)
		for dim := range objectDims {
			products = d.joined(products, dim)
		}
		if len(products) == before {
			return products
		}
	}
}

// joined joins products that differ in this attribute only.
func (d *diagrams) joined(products []product, dim int) []product {
	if len(products) < 2 {
		return products
	}
	at := make(map[product]int, len(products))
	out := products[:0]
	for _, p := range products {
		k := p
		k[dim] = 0
		i, again := at[k]
		if !again {
			at[k] = len(out)
			out = append(out, p)
			continue
		}
		out[i][dim] = d.parts.of(union(d.parts.all[out[i][dim]], d.parts.all[p[dim]]))
	}
	return out
}

func union(a, b part) part {
	if !a.except && !b.except {
		return part{values: sorted(slices.Concat(a.values, b.values))}
	}
	if !a.except {
		a, b = b, a
	}
	left := slices.DeleteFunc(slices.Clone(a.values), func(v int32) bool {
		_, found := slices.BinarySearch(b.values, v)
		return found != b.except
	})
	return part{left, true}
}
