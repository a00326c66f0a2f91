package authz

import (
	"cmp"
	"slices"
)

// Holder is a principal that may do something, and where.
type Holder struct {
	Principal
	// Everywhere, or in these namespaces.
	Everywhere bool     `json:"everywhere,omitempty"`
	Namespaces []string `json:"namespaces,omitempty"`
	// Names are of the only objects it may do it to, if it has no grant for all.
	Names []string `json:"names,omitempty"`
	// Sources are where it is written.
	Sources []string `json:"sources"`
}

// Query is a request by anybody. Namespace and Name may be left open: nil asks about any.
type Query struct {
	// Request has the rest; its subject, namespace and name are not looked at.
	Request
	Namespace, Name *string
}

// Who returns all principals that a policy allows to do something. Whoever meets the condition of one of them may.
func Who(p *Policy, q Query) []Holder {
	found := map[Principal]*holder{}
	for i := range p.Grants {
		g := &p.Grants[i]
		names, ok := q.allowedBy(g)
		if !ok {
			continue
		}
		h := found[g.Principal]
		if h == nil {
			h = &holder{Holder: Holder{Principal: g.Principal}}
			found[g.Principal] = h
		}
		h.add(g, names)
	}
	out := make([]Holder, 0, len(found))
	for _, h := range found {
		out = append(out, h.sorted())
	}
	slices.SortFunc(out, func(a, b Holder) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.User, b.User)) })
	return out
}

// allowedBy says whether a grant allows it, and if so for which names alone.
func (q *Query) allowedBy(g *Grant) (names []string, ok bool) {
	r := q.Request
	if q.Namespace != nil && !g.Everywhere && *q.Namespace != g.Namespace {
		return nil, false
	}
	if !r.ResourceRequest && !g.Everywhere && g.Namespace != "" {
		return nil, false
	}
	rule := *g.Rule
	switch {
	case q.Name != nil:
		r.Name = *q.Name
	case r.ResourceRequest:
		names, rule.ResourceNames = rule.ResourceNames, nil
	}
	return names, rule.Allows(r)
}

type holder struct {
	Holder
	unlimited bool
}

func (h *holder) add(g *Grant, names []string) {
	h.Everywhere = h.Everywhere || g.Everywhere
	if !g.Everywhere {
		h.Namespaces = append(h.Namespaces, g.Namespace)
	}
	h.unlimited = h.unlimited || len(names) == 0
	h.Names = append(h.Names, names...)
	h.Sources = append(h.Sources, g.Source)
}

func (h *holder) sorted() Holder {
	if h.Everywhere {
		h.Namespaces = nil
	}
	if h.unlimited {
		h.Names = nil
	}
	for _, list := range []*[]string{&h.Namespaces, &h.Names, &h.Sources} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return h.Holder
}
