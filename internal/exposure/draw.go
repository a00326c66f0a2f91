package exposure

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed draw.svg
var drawing string

var picture = template.Must(template.New("exposure").Parse(drawing))

// Draw writes an SVG picture of a network: who is out there, the edge, and the machines by role. What can be reached has a colour,
// and all else has none.
func Draw(w io.Writer, title string, g *Graph, c *Comparison) error {
	s := scene{Title: title, Equal: c.Equal()}
	s.people(c)
	s.machines(g, c)
	s.flows(c)
	s.Height = max(s.bottom, s.outside+20) + 40
	return picture.Execute(w, s)
}

// What the picture measures, in its own units.
const (
	top         = 96
	outsideLeft = 40
	outsideWide = 236
	edgeLeft    = 372
	edgeWide    = 92
	insideLeft  = 560
	insideWide  = 600
	cardHigh    = 68
	tileWide    = 136
	tileHigh    = 44
	gap         = 12
)

// scene is what there is to draw.
type scene struct {
	Title                   string
	Equal                   bool
	Height, bottom, outside int
	Groups                  []group // of people outside
	Panels                  []panel
	Cards                   []card
	Flows                   []line
}

// group is addresses outside that reach the same; those of nobody reach nothing.
type group struct {
	Y, High       int
	Name, Sources string
	Trusted       bool
	nobody        bool
}

// panel is a part of the inside.
type panel struct {
	Y, High    int
	Name, Note string
}

// card is a machine: a large one if it is public, a tile of its role if not.
type card struct {
	X, Y, Wide, High         int
	Name, Role, Line1, Line2 string
	Class                    string
}

// Where the texts of a card are.
func (c card) Small() bool   { return c.High == tileHigh }
func (c card) TextX() int    { return c.X + map[bool]int{true: 10, false: 34}[c.Small()] }
func (c card) Upper() int    { return c.Y + c.High*2/5 + 2 }
func (c card) Lower() int    { return c.Y + c.High*4/5 }
func (c card) Baseline() int { return c.Y + c.High/2 + 4 }
func (c card) DotX() int     { return c.X + 18 }
func (c card) DotY() int     { return c.Upper() - 5 }
func (c card) Right() int    { return c.X + c.Wide - 16 }

// Where the texts of a panel and a group are, and how high what stands beside the machines is.
func (p panel) TextY() int       { return p.Y + 30 }
func (g group) Line1() int       { return g.Y + 29 }
func (g group) Line2() int       { return g.Y + 50 }
func (s scene) EdgeHigh() int    { return s.bottom - top }
func (s scene) OutsideHigh() int { return max(s.bottom, s.outside+20) - top }

// line is packets on their way: to a card, or to the edge and no further.
type line struct {
	Path, Label, Class string
	LabelX, LabelY     int
}

// people are those who reach something that is declared, and everybody else.
func (s *scene) people(c *Comparison) {
	var sources []string
	for _, f := range c.Declared {
		for _, cell := range f.Reached.Cells() {
			sources = append(sources, cell.Sources.String())
		}
	}
	slices.Sort(sources)
	y := top + 52
	for _, text := range slices.Compact(sources) {
		s.Groups = append(s.Groups, group{Y: y, High: cardHigh, Name: "trusted addresses", Sources: text, Trusted: true})
		y += cardHigh + gap
	}
	s.Groups = append(s.Groups, group{Y: y, High: cardHigh, Name: "everybody else", Sources: "any other address", nobody: true})
	s.outside = y + cardHigh
}

func (s *scene) machines(g *Graph, c *Comparison) {
	lines := map[string][]string{} // what is declared of a node
	public := map[string]string{}
	extra := map[string]bool{}
	for _, f := range c.Declared {
		lines[f.Node] = append(lines[f.Node], fmt.Sprintf("%s · %s %d", f.Name, ProtocolText(Numbers(uint16(f.Protocol), uint16(f.Protocol))[0]), f.Port))
		public[f.Node] = g.Text(f.Address)
	}
	for _, e := range c.Extra {
		extra[e.Node] = true
	}
	class := func(n *Node) string {
		switch {
		case extra[n.Name]:
			return "extra"
		case public[n.Name] != "":
			return "public"
		}
		return "private"
	}
	y := top
	begin := y
	y += 52
	roles := map[string][]*Node{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Kind != Machine {
			continue
		}
		if public[n.Name] == "" {
			roles[n.Role] = append(roles[n.Role], n)
			continue
		}
		s.Cards = append(s.Cards, card{insideLeft + 20, y, insideWide - 40, cardHigh, n.Name, n.Role,
			public[n.Name] + " → " + first(n), strings.Join(lines[n.Name], ", "), class(n)})
		y += cardHigh + gap
	}
	if y > begin+52 {
		s.Panels = append(s.Panels, panel{begin, y + 8 - begin, "public", "with an address that the internet knows"})
		y += 8 + 28
		begin = y
		y += 52
	}
	note := "reached by nobody outside"
	if slices.ContainsFunc(c.Extra, func(e Entry) bool { return public[e.Node] == "" }) {
		note = "should be reached by nobody outside"
	}
	names := make([]string, 0, len(roles))
	for role := range roles {
		names = append(names, role)
	}
	slices.Sort(names)
	for _, role := range names {
		x := insideLeft + 148
		s.Cards = append(s.Cards, card{insideLeft + 20, y, 0, tileHigh, "", cmp.Or(role, "machines"), "", "", "role"})
		for i, n := range roles[role] {
			if i > 0 && x+tileWide > insideLeft+insideWide-gap {
				x, y = insideLeft+148, y+tileHigh+gap
			}
			s.Cards = append(s.Cards, card{x, y, tileWide, tileHigh, n.Name, role, first(n), "", class(n)})
			x += tileWide + gap
		}
		y += tileHigh + gap
	}
	s.Panels = append(s.Panels, panel{begin, y + 8 - begin, "private", note})
	s.bottom = y + 8
}

func first(n *Node) string {
	for _, a := range n.Attachments {
		if len(a.Addresses) > 0 {
			return a.Addresses[0].String()
		}
	}
	return ""
}

func (s *scene) flows(c *Comparison) {
	to := func(name string) (card, bool) {
		i := slices.IndexFunc(s.Cards, func(c card) bool { return c.Name == name })
		if i < 0 {
			return card{}, false
		}
		return s.Cards[i], true
	}
	from := func(sources string) group {
		i := slices.IndexFunc(s.Groups, func(g group) bool { return g.Sources == sources })
		if i < 0 {
			i = len(s.Groups) - 1
		}
		return s.Groups[i]
	}
	drawn := map[string]int{}
	add := func(node, sources, label, class string) {
		g := from(sources)
		y1, y2 := g.Y+g.High/2, s.bottom-10
		x2, end := edgeLeft+edgeWide, "" // the edge itself
		if c, ok := to(node); ok {
			x2, y2 = c.X-4, c.Y+c.High/2
			if c.Small() { // between the rows of tiles, and down on it
				x2, y2, end = c.X+c.Wide/2, c.Y-gap/2, fmt.Sprintf(" L%d %d", c.X+c.Wide/2, c.Y)
			}
		}
		n := drawn[node+class]
		drawn[node+class]++
		if n > 0 {
			return // one line is enough, the card says the rest
		}
		x1 := outsideLeft + outsideWide - 18
		mid := edgeLeft + edgeWide/2
		s.Flows = append(s.Flows, line{Label: label, Class: class, LabelX: insideLeft - 14, LabelY: y2 - 8,
			Path: fmt.Sprintf("M%d %d C%d %d %d %d %d %d L%d %d", x1, y1, x1+80, y1, mid-60, y2, mid, y2, x2, y2) + end})
	}
	for _, f := range c.Declared {
		for _, cell := range f.Reached.Cells() {
			add(f.Node, cell.Sources.String(), "", "public")
		}
	}
	reached := false
	for _, e := range c.Extra {
		for _, cell := range e.Packets.Cells() {
			reached = true
			add(e.Node, cell.Sources.String(), ProtocolText(cell.Protocol)+" "+Ranges{cell.Port}.Text(), "extra")
		}
	}
	if nobody := s.Groups[len(s.Groups)-1]; !reached {
		y := nobody.Y + nobody.High/2
		s.Flows = append(s.Flows, line{Class: "stopped", Path: fmt.Sprintf("M%d %d L%d %d", outsideLeft+outsideWide-18, y, edgeLeft-6, y)})
	}
}
