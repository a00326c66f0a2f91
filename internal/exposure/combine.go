package exposure

import "slices"

type operation int

const (
	and operation = iota
	or
	minus
)

// combine walks two lists of slabs side by side, from one point where either begins or ends to the next.
func combine(op operation, left, right []slab, depth int) []slab {
	if len(left) > 0 && len(left) == len(right) && &left[0] == &right[0] {
		if op == minus {
			return nil
		}
		return left
	}
	var out []slab
	a, b := cursor{slabs: left}, cursor{slabs: right}
	for !a.done() && !b.done() {
		piece, inA, inB := overlap(a.head(), b.head())
		s := slab{Range: piece}
		keep := inA && inB
		switch {
		case inA && inB && depth < innermost:
			s.rest = combine(op, a.slabs[0].rest, b.slabs[0].rest, depth+1)
			keep = len(s.rest) > 0
		case inA && inB:
			keep = op != minus
		case inA:
			keep, s.rest = op != and, a.slabs[0].rest
		default:
			keep, s.rest = op == or, b.slabs[0].rest
		}
		if keep {
			out = join(out, s)
		}
		a.pass(piece.last)
		b.pass(piece.last)
		if op != or && !a.done() {
			b.skip(a.head().first)
		}
		if op == and && !b.done() {
			a.skip(b.head().first)
		}
	}
	if op != and {
		out = a.appendTo(out)
	}
	if op == or {
		out = b.appendTo(out)
	}
	return out
}

// overlap is the first piece of two ranges that is in one of them, or in both, from its beginning to its end.
func overlap(a, b Range) (piece Range, inA, inB bool) {
	switch {
	case a.first.less(b.first):
		piece, inA = a, true
		if !a.last.less(b.first) {
			piece.last = b.first.previous()
		}
	case b.first.less(a.first):
		piece, inB = b, true
		if !b.last.less(a.first) {
			piece.last = a.first.previous()
		}
	default:
		piece, inA, inB = a, true, true
		if b.last.less(a.last) {
			piece.last = b.last
		}
	}
	return piece, inA, inB
}

// cursor is what is left of a list of slabs, of the first of which a part may be passed already.
type cursor struct {
	slabs []slab
	from  point
}

func (c *cursor) done() bool { return len(c.slabs) == 0 }

func (c *cursor) head() Range {
	r := c.slabs[0].Range
	if r.first.less(c.from) {
		r.first = c.from
	}
	return r
}

// pass leaves behind all up to a point.
func (c *cursor) pass(p point) {
	switch {
	case c.done() || p.less(c.slabs[0].first):
	case !p.less(c.slabs[0].last):
		c.slabs = c.slabs[1:]
	default:
		c.from = p.next()
	}
}

// skip passes over slabs that end before a point, with a search where steps would be slow.
func (c *cursor) skip(p point) {
	if c.done() || !c.slabs[0].last.less(p) {
		return
	}
	i, _ := slices.BinarySearchFunc(c.slabs, p, func(s slab, p point) int { return s.last.compare(p) })
	c.slabs = c.slabs[i:]
}

// appendTo appends what is left. Only the first of it can touch what is there already.
func (c *cursor) appendTo(out []slab) []slab {
	if c.done() {
		return out
	}
	out = join(out, slab{c.head(), c.slabs[0].rest})
	return append(out, c.slabs[1:]...)
}
