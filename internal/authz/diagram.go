package authz

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// diagrams compares unions of products of sets. A product is a cell: a chain of sets, one for each attribute of a
// request. Comparing walks the attributes in order and, at each, tells apart only those values that the cells still in
// question name; all other values lead the same way. What it finds is shared: equal parts of any two comparisons are
// one node, as in a binary decision diagram.
type diagrams struct {
	sets    interned[[]int32] // sorted values; set 0 is everything
	cells   map[cell]int32
	chain   []cell // by cell's number; 0 is the end of every chain
	nodes   []node // by node's number less outcomes
	unique  map[string]int32
	memo    map[string]int32
	project map[[2]int32]int32
	parts   interned[part] // part 0 is everything
}

type cell struct{ set, next int32 }

// node leads from each value of its attribute to what remains to be looked at, and from all values that it does not
// name to other.
type node struct {
	level int
	edges []edge // by their first values, so that the order does not depend on the children's numbers
	other int32
}

type edge struct {
	values []int32 // sorted
	child  int32
}

// The outcomes, which are also the numbers of the nodes where walks end.
const (
	nothing = iota
	widened
	narrowed
	equal
	outcomes
)

const (
	everything = 0 // the set of all values
	end        = 0 // of a chain
)

func newDiagrams() *diagrams {
	d := &diagrams{sets: newInterned(key[int32]), cells: map[cell]int32{}, chain: make([]cell, 1),
		unique: map[string]int32{}, memo: map[string]int32{}, project: map[[2]int32]int32{}, parts: newInterned(part.key)}
	d.sets.of(nil)
	d.parts.of(part{except: true})
	return d
}

// interned numbers equal things alike.
type interned[T any] struct {
	key    func(T) string
	number map[string]int32
	all    []T
}

func newInterned[T any](key func(T) string) interned[T] {
	return interned[T]{key: key, number: map[string]int32{}}
}

func (n *interned[T]) of(v T) int32 {
	k := n.key(v)
	id, ok := n.number[k]
	if !ok {
		id = int32(len(n.all))
		n.number[k] = id
		n.all = append(n.all, v)
	}
	return id
}

func key[T ~int32](values []T) string {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	return string(out)
}

// cell puts a set before a chain.
func (d *diagrams) cell(set, next int32) int32 {
	c := cell{set, next}
	id, ok := d.cells[c]
	if !ok {
		id = int32(len(d.chain))
		d.cells[c] = id
		d.chain = append(d.chain, c)
	}
	return id
}

// question is what two policies say of one subject: what each grants to one of its principals, whose share of the
// difference is asked for, and what each grants to its others. Cells are sorted and differ.
type question struct{ ownA, ownB, restA, restB []int32 }

func (q *question) lists() []*[]int32 { return []*[]int32{&q.ownA, &q.ownB, &q.restA, &q.restB} }

func (q *question) outcome() int32 {
	a, b := len(q.ownA)+len(q.restA) > 0, len(q.ownB)+len(q.restB) > 0
	switch {
	case a && b:
		return equal
	case a:
		return narrowed
	}
	return widened
}

// compare returns the node that tells the outcome of every request.
func (d *diagrams) compare(level int, q question) int32 {
	if len(q.ownA)+len(q.ownB) == 0 {
		return nothing
	}
	if len(q.ownA) > 0 && q.ownA[0] == end || len(q.ownB) > 0 && q.ownB[0] == end { // all chains end together
		return q.outcome()
	}
	id := key([]int32{int32(level), int32(len(q.ownA)), int32(len(q.ownB)), int32(len(q.restA))}) +
		key(q.ownA) + key(q.ownB) + key(q.restA) + key(q.restB)
	if n, ok := d.memo[id]; ok {
		return n
	}
	base, named := d.split(q)
	other := d.compare(level+1, base)
	values := map[int32][]int32{}
	for v, next := range named {
		for i, list := range next.lists() {
			*list = sorted(append(*list, *base.lists()[i]...))
		}
		if child := d.compare(level+1, *next); child != other {
			values[child] = append(values[child], v)
		}
	}
	n := d.node(level, values, other)
	d.memo[id] = n
	return n
}

// split returns what remains of a question for a value that no cell names, and what to add to it for those that are
// named. Where only others' cells name a value, and no own one covers it, the outcome is nothing anyway.
func (d *diagrams) split(q question) (base question, named map[int32]*question) {
	named = map[int32]*question{}
	for i, list := range q.lists() {
		own := i < 2 || len(base.ownA)+len(base.ownB) > 0
		for _, c := range *list {
			at := d.chain[c]
			if at.set == everything {
				to := base.lists()[i]
				*to = append(*to, at.next)
				continue
			}
			for _, v := range d.sets.all[at.set] {
				if named[v] == nil && own {
					named[v] = new(question)
				}
				if n := named[v]; n != nil {
					to := n.lists()[i]
					*to = append(*to, at.next)
				}
			}
		}
	}
	for _, list := range base.lists() {
		*list = sorted(*list)
	}
	return base, named
}

func sorted(s []int32) []int32 {
	slices.Sort(s)
	return slices.Compact(s)
}

// node returns the one node of these edges. Without any it is what it leads to.
func (d *diagrams) node(level int, values map[int32][]int32, other int32) int32 {
	if len(values) == 0 {
		return other
	}
	n := node{level: level, other: other}
	for child, v := range values {
		n.edges = append(n.edges, edge{sorted(v), child})
	}
	slices.SortFunc(n.edges, func(a, b edge) int { return cmp.Compare(a.values[0], b.values[0]) })
	k := key([]int32{int32(level), other})
	for _, e := range n.edges {
		k += key([]int32{e.child, int32(len(e.values))}) + key(e.values)
	}
	id, ok := d.unique[k]
	if !ok {
		id = outcomes + int32(len(d.nodes))
		d.unique[k] = id
		d.nodes = append(d.nodes, n)
	}
	return id
}

// only keeps one outcome, as equal, and makes nothing of the others, so that what they told apart is one again.
func (d *diagrams) only(outcome, id int32) int32 {
	if id < outcomes {
		if id == outcome {
			return equal
		}
		return nothing
	}
	if n, ok := d.project[[2]int32{outcome, id}]; ok {
		return n
	}
	n := d.nodes[id-outcomes]
	other := d.only(outcome, n.other)
	values := map[int32][]int32{}
	for _, e := range n.edges {
		if child := d.only(outcome, e.child); child != other {
			values[child] = append(values[child], e.values...)
		}
	}
	out := d.node(n.level, values, other)
	d.project[[2]int32{outcome, id}] = out
	return out
}
