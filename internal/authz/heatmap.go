package authz

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed heatmap.html
var heatMapHTML string

var heatMapPage = template.Must(template.New("heatmap").Parse(heatMapHTML))

// HeatMap writes one page of HTML: who may do what to which resources, the most powerful first. Subjects that may do the
// same are one row; what is the same but for the own namespace is the same. Paths are not in it.
func HeatMap(w io.Writer, title string, p *Policy, subjects []Subject) error {
	m := heatMap{Title: title, Subjects: len(subjects)}
	columns := columnsOf(p)
	m.addColumns(columns)
	m.addRows(profilesOf(p, columns, subjects), columns)
	m.addCards()
	return heatMapPage.Execute(w, m)
}

// Subjects are all whom a policy names, with the groups that come with a name. One without a user is anybody in its groups.
func Subjects(p *Policy) []Subject {
	principals := map[Principal]bool{}
	for _, g := range p.Grants {
		principals[g.Principal] = true
	}
	var out []Subject
	for who := range principals {
		if s, possible := who.least(""); possible {
			s.User = who.User
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Subject) int { return cmp.Or(cmp.Compare(a.User, b.User), slices.Compare(a.Groups, b.Groups)) })
	return out
}

// heatMap is what the page shows.
type heatMap struct {
	Title     string
	Subjects  int
	Resources int
	Cards     []heatCard
	Groups    []heatGroup
	Rows      []heatRow
}

type heatGroup struct {
	Name, Short string
	Columns     []heatColumn
}

type heatColumn struct {
	Name, Title string
	Danger      bool
}

type heatRow struct {
	Name, More string // "shop/app", "and 11 more"
	Members    []string
	Cells      []heatCell
	profile    *profile
	power      int
}

// heatCell is of the class of its letter, or of none.
type heatCell struct{ Class, Title string }

// heatCard says how many subjects have a power, and which rows they are in.
type heatCard struct {
	Title                 string
	Count                 int
	Everywhere, Somewhere string
}

func (m *heatMap) addColumns(columns []column) {
	m.Resources = len(columns)
	for i, c := range columns {
		if i == 0 || c.group != columns[i-1].group {
			name := cmp.Or(c.group, "core")
			if name == "*" {
				name = "any group"
			}
			m.Groups = append(m.Groups, heatGroup{Name: name, Short: strings.TrimSuffix(name, ".k8s.io")})
		}
		g := &m.Groups[len(m.Groups)-1]
		title, names := c.name()+" of "+g.Name, c.dangers("*")
		if len(names) > 0 {
			title += "\nDangerous: " + strings.Join(names, ", ")
		}
		g.Columns = append(g.Columns, heatColumn{c.name(), title, len(names) > 0})
	}
}

// addRows makes one row of all profiles that are equal.
func (m *heatMap) addRows(profiles []*profile, columns []column) {
	same := map[string][]*profile{}
	for _, f := range profiles {
		key := f.key()
		same[key] = append(same[key], f)
	}
	for _, equal := range same {
		m.Rows = append(m.Rows, rowOf(equal, columns))
	}
	slices.SortFunc(m.Rows, func(a, b heatRow) int { return cmp.Or(cmp.Compare(b.power, a.power), cmp.Compare(a.Name, b.Name)) })
}

func rowOf(equal []*profile, columns []column) heatRow {
	first := equal[0]
	row := heatRow{profile: first, power: first.power()}
	for _, f := range equal {
		row.Members = append(row.Members, f.subject.label())
	}
	slices.Sort(row.Members)
	row.Name = row.Members[0]
	if more := len(equal) - 1; more > 0 {
		row.More = fmt.Sprintf("and %d more", more)
	}
	home, _ := first.subject.home()
	for i := range columns {
		if i == 0 || columns[i].group != columns[i-1].group { // below the group's name
			row.Cells = append(row.Cells, heatCell{Class: "group"})
		}
		h, cell := &first.holdings[i], heatCell{}
		if cell.Class = h.letter(); cell.Class != "" {
			cell.Title = row.Name + " · " + columns[i].name() + "\n" + h.title(home, 10)
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}

// powers are what the page says in words, by the names of danger.go. Those with the first are not counted again.
var powers = []struct {
	title   string
	dangers []string
}{
	{"may do everything", []string{everythingAllowed}},
	{"more may read or change Secrets", []string{"secrets"}},
	{"more may run commands in pods", []string{"exec", "nodes"}},
	{"more may raise their own rights", []string{"impersonate", "escalate", "tokens", "certificates", "rbac"}},
}

func (m *heatMap) addCards() {
	for i, power := range powers {
		card := heatCard{Title: power.title}
		var wide, narrow []string
		for _, r := range m.Rows {
			everywhere, has := r.profile.has(power.dangers...)
			switch {
			case !has, i > 0 && r.profile.dangers[everythingAllowed]:
				continue
			case everywhere:
				wide = append(wide, strings.TrimSpace(r.Name+" "+r.More))
			default:
				narrow = append(narrow, strings.TrimSpace(r.Name+" "+r.More))
			}
			card.Count += len(r.Members)
		}
		card.Everywhere, card.Somewhere = someOf(wide, 5), someOf(narrow, 5)
		m.Cards = append(m.Cards, card)
	}
}

// label is a subject as people call it.
func (s Subject) label() string {
	groups := slices.DeleteFunc(slices.Clone(s.Groups), func(g string) bool { return g == groupAuthenticated })
	if sa := rbacSubject(s.User); sa.Kind == "ServiceAccount" {
		return sa.Namespace + "/" + sa.Name
	}
	home, ofNamespace := s.home()
	switch {
	case s.User != "" && len(groups) > 0:
		return s.User + " in " + strings.Join(groups, ", ")
	case s.User != "":
		return s.User
	case ofNamespace:
		return "ServiceAccounts of " + home
	case slices.Equal(groups, []string{groupServiceAccounts}):
		return "all ServiceAccounts"
	case len(groups) == 0:
		return "everybody"
	}
	return "group " + strings.Join(groups, ", ")
}

// home is the namespace that is a subject's own.
func (s Subject) home() (string, bool) {
	if s.User != "" {
		return serviceAccountNamespace(s.User)
	}
	for _, g := range s.Groups {
		if home, ok := (Principal{Group: g}).home(); ok {
			return home, true
		}
	}
	return "", false
}
