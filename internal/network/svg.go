package network

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"io"
	"strings"
)

//go:embed matrix.css
var matrixStyle string

// The picture's measures, in pixels.
const (
	cellWide, cellHigh = 58, 26
	headHigh           = 128 // of the slanted names above columns
	margin             = 24
	titleHigh          = 58
	groupGap           = 10 // between namespaces, machines, and what is outside
	letter             = 6.7
	maxLines           = 2 // of ports in a cell; the rest is in its tooltip
)

// picture is where things are.
type picture struct {
	bytes.Buffer
	m    *Matrix
	left int // where cells begin
	gaps []int
}

// SVG draws the matrix: who connects to the left, who is connected to above, and open ports in between. What does not agree is red.
func (m *Matrix) SVG(w io.Writer, title string) error {
	p := &picture{m: m}
	longest := 0
	for i, c := range m.Classes {
		longest = max(longest, len(c.Name))
		gap := 0
		if i > 0 {
			gap = p.gaps[i-1]
			if group(c) != group(m.Classes[i-1]) {
				gap += groupGap
			}
		}
		p.gaps = append(p.gaps, gap)
	}
	p.left = margin + int(float64(longest)*letter) + 14
	n, rows := len(m.Classes), 0
	for i, c := range m.Classes {
		if c.Inside() {
			rows = i + 1
		}
	}
	wide, high := p.x(n-1)+cellWide+headHigh*3/4+margin, p.y(rows-1)+cellHigh+88
	wide = max(wide, 960)
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n<style>%s</style>\n", wide, high, wide, high, matrixStyle)
	fmt.Fprintf(p, `<rect class="page" width="%d" height="%d"/>`+"\n", wide, high)
	p.text(margin, margin+12, "title", title)
	p.text(margin, margin+31, "dim", p.summary())
	for i, c := range m.Classes {
		p.heading(i, c)
	}
	for i, from := range m.Classes {
		if !from.Inside() {
			continue
		}
		for j, to := range m.Classes {
			p.cell(i, j, m.Between(from.Name, to.Name), from.Name, to.Name)
		}
	}
	p.legend(high - 52)
	p.WriteString("</svg>\n")
	_, err := w.Write(p.Bytes())
	return err
}

// group is what stands together.
func group(c Class) string {
	switch {
	case c.Kind == KindMachines:
		return "machines"
	case !c.Inside():
		return "outside"
	}
	namespace, _, _ := strings.Cut(c.Name, "/")
	return "namespace " + namespace
}

func (p *picture) x(i int) int { return p.left + i*cellWide + p.gaps[i] }
func (p *picture) y(i int) int { return titleHigh + headHigh + i*cellHigh + p.gaps[i] }

func (p *picture) summary() string {
	differ := len(p.m.Differing())
	s := fmt.Sprintf("%d classes, %d cells", len(p.m.Classes), len(p.m.Cells))
	if differ == 0 {
		s += ", in agreement"
	} else {
		s += fmt.Sprintf(", %d in disagreement", differ)
	}
	if p.m.Observed.IsZero() {
		return s + ". Declared and simulated; not observed."
	}
	return s + ". Declared, simulated, and observed on " + p.m.Observed.UTC().Format("2006-01-02 15:04 MST") + "."
}

func (p *picture) text(x, y int, class, s string) {
	fmt.Fprintf(p, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, html.EscapeString(s))
}

// heading names a class beside its row and, slanted, above its column.
func (p *picture) heading(i int, c Class) {
	title := fmt.Sprintf("<title>%s: %s, %d</title>", html.EscapeString(c.Name), html.EscapeString(string(c.Kind)), c.Size)
	if c.Inside() {
		fmt.Fprintf(p, `<text x="%d" y="%d" class="row %s">%s%s</text>`+"\n", p.left-10, p.y(i)+cellHigh/2+4, string(c.Kind), html.EscapeString(c.Name), title)
	}
	x, y := p.x(i)+cellWide/2, titleHigh+headHigh-8
	fmt.Fprintf(p, `<text x="%d" y="%d" class="column" transform="rotate(-45 %d %d)">%s%s</text>`+"\n", x, y, x, y, html.EscapeString(short(c.Name, 24)), title)
}

// cell draws what there is between two classes.
func (p *picture) cell(i, j int, b Between, from, to string) {
	if len(b.Cells) == 0 {
		fmt.Fprintf(p, `<rect class="none" x="%d" y="%d" width="%d" height="%d" rx="3"/>`+"\n", p.x(j), p.y(i), cellWide-3, cellHigh-3)
		return
	}
	fmt.Fprintf(p, `<g><title>%s</title><rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="3"/>`,
		html.EscapeString(tooltip(from, to, b)), class(b), p.x(j), p.y(i), cellWide-3, cellHigh-3)
	lines := strings.Fields(strings.NewReplacer("all tcp", "all_tcp", "all udp", "all_udp").Replace(b.Text))
	if len(lines) > maxLines {
		lines = []string{lines[0], fmt.Sprintf("%d more", len(lines)-1)}
	}
	for n, line := range lines {
		y := p.y(i) + (cellHigh-3)/2 + 4
		if len(lines) > 1 {
			y += n*11 - 6
		}
		fmt.Fprintf(p, `<text x="%d" y="%d" class="ports%s">%s</text>`, p.x(j)+(cellWide-3)/2, y, small(lines), html.EscapeString(short(strings.ReplaceAll(line, "_", " "), 10)))
	}
	p.WriteString("</g>\n")
}

func small(lines []string) string {
	if len(lines) > 1 {
		return " small"
	}
	return ""
}

// class is a cell's colour.
func class(b Between) string {
	switch {
	case !b.Agrees:
		return "differs"
	case b.Users:
		return "users"
	case b.Open == 0:
		return "shut"
	case b.Text == "all":
		return "all"
	}
	return "open"
}

// tooltip says of each port how it is, and why.
func tooltip(from, to string, b Between) string {
	lines := []string{from + " → " + to}
	for _, c := range b.Cells {
		name := PortName(c.Port)
		if c.Other {
			name = "other " + strings.ToLower(string(c.Port.Protocol))
		}
		if c.Service != "" {
			name += " of Service " + c.Service
		}
		lines = append(lines, fmt.Sprintf("%s: declared %s, simulated %s, observed %s. %s", name, c.Declared, c.Simulated, c.Observed, c.Why))
		lines = append(lines, c.Differ...)
	}
	return strings.Join(lines, "\n")
}

func (p *picture) legend(y int) {
	x := margin
	for _, l := range []struct{ class, text string }{
		{"open", "these ports"}, {"all", "every port"}, {"shut", "nothing"},
		{"users", "users' own NetworkPolicies differ from the default"}, {"differs", "declared, simulated and observed disagree"},
	} {
		fmt.Fprintf(p, `<rect class="%s" x="%d" y="%d" width="16" height="16" rx="3"/>`, l.class, x, y)
		p.text(x+22, y+12, "dim", l.text)
		x += 22 + int(float64(len(l.text))*5.9) + 20
	}
	p.text(margin, y+34, "dim", "Rows connect to columns; ~ is to some of them, as a machine to its own pods. Point at a cell for what decides.")
}

func short(s string, most int) string {
	if len([]rune(s)) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
