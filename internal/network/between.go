package network

import (
	"cmp"
	"slices"
	"strings"
)

// Between is all cells of two classes, as a table shows them.
type Between struct {
	Text   string // the open ports; "·": none
	Cells  []Cell
	Open   int
	Agrees bool
	Users  bool
}

// Between returns what there is from one class to another. An open port of a Service goes with that of its pods.
func (m *Matrix) Between(from, to string) Between {
	b := Between{Agrees: true}
	var open []string
	all, partly, service := true, true, true
	for _, c := range m.Cells {
		if c.From != from || c.To != to {
			continue
		}
		b.Cells = append(b.Cells, c)
		b.Agrees, b.Users = b.Agrees && c.Agrees(), b.Users || c.Users
		if c.Service != "" {
			service = service && c.Agrees()
			continue
		}
		text := c.text()
		partly = partly && c.Shown() == Partly
		if c.Other {
			all = all && c.Shown() == Yes
			if c.Agrees() && c.Shown() == No {
				continue
			}
			text = strings.Replace(text, PortName(c.Port), "all "+strings.ToLower(string(c.Port.Protocol)), 1)
		} else {
			all = all && c.Shown() == Yes
		}
		if c.Shown() != No || !c.Agrees() || c.Users {
			open = append(open, text)
		}
		if c.Shown() != No {
			b.Open++
		}
	}
	if !service {
		open = append(open, "Service!")
	}
	switch {
	case partly && b.Agrees && !b.Users && len(open) > 0:
		b.Text = "all~"
	case len(b.Cells) == 0:
		b.Text = ""
	case len(open) == 0:
		b.Text = "·"
	case all && b.Agrees && !b.Users:
		b.Text = "all"
	default:
		b.Text = strings.Join(slices.Compact(open), " ")
	}
	return b
}

// Shown is what there is in fact, as far as it is known: what was observed, or else simulated.
func (c *Cell) Shown() Reach {
	if c.Observed != Unknown && c.Observed != "" {
		return c.Observed
	}
	return c.Simulated
}

// text is the port, with marks: ! does not agree, ~ partly, + and - users allow or refuse more than is declared.
func (c *Cell) text() string {
	text := PortName(c.Port)
	if c.Shown() == Partly {
		text += "~"
	}
	switch {
	case !c.Agrees():
		text += "!"
	case c.Users && c.Shown() == No:
		text = "-" + text
	case c.Users:
		text = "+" + text
	}
	return text
}

// Tally counts cells of one kind.
type Tally struct {
	Kind                                  string
	Cells, Open, Refused, Unknown, Differ int
}

// Tally counts what was observed, by what was connected to.
func (m *Matrix) Tally() []Tally {
	kinds := map[string]Kind{}
	for _, c := range m.Classes {
		kinds[c.Name] = c.Kind
	}
	by := map[string]*Tally{}
	for i := range m.Cells {
		c := &m.Cells[i]
		kind := "pods"
		switch k := kinds[c.To]; {
		case c.Service != "":
			kind = "Services"
		case k == KindMachines:
			kind = "machines"
		case k == KindSet || k == KindRange || k == KindInternet || k == KindMetadata:
			kind = "outside"
		}
		kind += ", " + string(c.Port.Protocol)
		t := by[kind]
		if t == nil {
			t = &Tally{Kind: kind}
			by[kind] = t
		}
		t.add(c)
	}
	var out []Tally
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Tally) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

func (t *Tally) add(c *Cell) {
	t.Cells++
	switch c.Observed {
	case Yes, Partly:
		t.Open++
	case No:
		t.Refused++
	default:
		t.Unknown++
	}
	if !c.Agrees() {
		t.Differ++
	}
}
