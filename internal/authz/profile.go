package authz

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// severity has the letters of what may be done, the worst last: read, write, what is dangerous, and anything, which includes
// verbs to come. A capital is for everywhere.
const severity = "rRwWdaDA"

// reach is what a rule allows of a column.
type reach struct {
	column  int
	letter  byte // for somewhere
	dangers []string
	text    string
	limited bool // to named objects
}

func (u *Rule) reach(columns []column) []reach {
	var out []reach
	for i := range columns {
		c := &columns[i]
		if len(u.Verbs) == 0 || !covers(u.APIGroups, c.group) {
			continue
		}
		covers := func(sub string) bool {
			return slices.ContainsFunc(u.Resources, func(pattern string) bool { return u.resourceMatches(pattern, c.resource, sub) })
		}
		itself, r := covers(c.sub), reach{column: i, limited: len(u.ResourceNames) > 0}
		with := slices.DeleteFunc(slices.Clone(c.with), func(sub string) bool { return !covers(sub) })
		if !itself && len(with) == 0 {
			continue
		}
		if itself {
			r.dangers = c.dangers(u.Verbs...)
		}
		r.letter = u.letter(itself, len(r.dangers) > 0)
		r.text = u.text(itself, with)
		out = append(out, r)
	}
	return out
}

func (u *Rule) letter(itself, danger bool) byte {
	switch {
	case itself && slices.Contains(u.Verbs, "*"):
		return 'a'
	case danger:
		return 'd'
	case slices.ContainsFunc(u.Verbs, func(v string) bool { return !slices.Contains(read, v) }):
		return 'w'
	}
	return 'r'
}

// text is the verbs, and which subresources they are of too.
func (u *Rule) text(itself bool, with []string) string {
	out := strings.Join(u.Verbs, ", ")
	if slices.Contains(u.Verbs, "*") {
		out = "everything"
	}
	switch {
	case !itself:
		out += " of its " + strings.Join(with, ", ")
	case len(with) > 0:
		out += ", also of its " + strings.Join(with, ", ")
	}
	if len(u.ResourceNames) > 0 {
		out += ", if named " + strings.Join(u.ResourceNames, ", ")
	}
	return out
}

// profile is all that a subject may do.
type profile struct {
	subject  Subject
	holdings []holding
	// dangers are what it has of them, and whether everywhere.
	dangers map[string]bool
}

// holding is what a subject may do to the resource of a column.
type holding struct {
	worst   int // counts from 1 in severity; 0 is nothing
	clauses []clause
}

// clause is something that may be done in some places.
type clause struct {
	text   string
	wide   bool
	places []string
}

func profilesOf(p *Policy, columns []column, subjects []Subject) []*profile {
	reaches := map[*Rule][]reach{}
	for _, r := range rulesOf(p) {
		reaches[r] = r.reach(columns)
	}
	var out []*profile
	for _, s := range subjects {
		f := &profile{subject: s, holdings: make([]holding, len(columns)), dangers: map[string]bool{}}
		for _, g := range p.of(s).Grants {
			f.add(&g, reaches[g.Rule])
		}
		out = append(out, f)
	}
	return out
}

func (f *profile) add(g *Grant, reaches []reach) {
	if u := g.Rule; covers(u.Verbs, "*") && covers(u.APIGroups, "*") && slices.Contains(u.Resources, "*") && len(u.ResourceNames) == 0 {
		f.dangers[everythingAllowed] = f.dangers[everythingAllowed] || g.Everywhere
	}
	for i := range reaches {
		r := &reaches[i]
		wide := g.Everywhere && !r.limited
		for _, d := range r.dangers {
			f.dangers[d] = f.dangers[d] || wide
		}
		f.holdings[r.column].add(r, g, wide)
	}
}

func (h *holding) add(r *reach, g *Grant, wide bool) {
	letter := r.letter
	if wide {
		letter = letter - 'a' + 'A'
	}
	h.worst = max(h.worst, 1+strings.IndexByte(severity, letter))
	i := slices.IndexFunc(h.clauses, func(p clause) bool { return p.text == r.text })
	if i < 0 {
		i = len(h.clauses)
		h.clauses = append(h.clauses, clause{text: r.text})
	}
	p := &h.clauses[i]
	p.wide = p.wide || g.Everywhere
	p.places = append(p.places, g.Namespace)
}

// title says it in words, with the own namespace called so, and at most a few others named.
func (h *holding) title(home string, few int) string {
	lines := make([]string, len(h.clauses))
	for i, c := range h.clauses {
		lines[i] = c.where(home, few) + ": " + c.text
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (c *clause) where(home string, few int) string {
	if c.wide {
		return "everywhere"
	}
	places := slices.Clone(c.places)
	for i, namespace := range places {
		switch namespace {
		case "":
			places[i] = "outside of namespaces"
		case home:
			places[i] = "own namespace"
		}
	}
	slices.Sort(places)
	return someOf(slices.Compact(places), few)
}

// someOf lists a few, and says how many more there are.
func someOf(list []string, few int) string {
	if more := len(list) - few; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), more)
	}
	return strings.Join(list, ", ")
}

// key is the same for all who may do the same, each in its own namespace.
func (f *profile) key() string {
	home, _ := f.subject.home()
	var out strings.Builder
	for i := range f.holdings {
		out.WriteString(f.holdings[i].title(home, math.MaxInt))
		out.WriteByte(0)
	}
	return out.String()
}

// has says whether the subject has any of the dangers, and one of them everywhere.
func (f *profile) has(dangers ...string) (everywhere, any bool) {
	for _, d := range dangers {
		wide, has := f.dangers[d]
		everywhere, any = everywhere || wide, any || has
	}
	return everywhere, any
}

// power is more, the worse it is.
func (f *profile) power() int {
	out := 0
	for i := range f.holdings {
		out += 1 << f.holdings[i].worst
	}
	return out
}

func (h *holding) letter() string {
	if h.worst == 0 {
		return ""
	}
	return severity[h.worst-1 : h.worst]
}
