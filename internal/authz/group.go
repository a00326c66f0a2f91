package authz

import (
	"fmt"
	"strconv"
	"strings"
)

// Group is the differences that say the same of the same principals, of different resources or paths.
type Group struct {
	Principals []Principal  `json:"principals"`
	Own        bool         `json:"own,omitempty"`
	Members    []Difference `json:"members"`
}

// Grouped puts differences together that have principals, verbs, namespaces and names in common, in the order of the
// first of each.
func Grouped(differences []Difference) []Group {
	at := map[string]int{}
	var out []Group
	for _, d := range differences {
		k := d.groupKey()
		i, known := at[k]
		if !known {
			i = len(out)
			at[k] = i
			out = append(out, Group{Principals: d.Principals, Own: d.Own})
		}
		out[i].Members = append(out[i].Members, d)
	}
	return out
}

func (d *Difference) groupKey() string {
	var k strings.Builder
	for _, p := range d.Principals {
		fmt.Fprintf(&k, "%q%q", p.User, p.Group)
	}
	for _, s := range []Set{d.Verbs, d.Namespaces, d.Names} {
		k.WriteString(strconv.FormatBool(s.Except))
		for _, v := range s.Values {
			k.WriteString(strconv.Quote(v))
		}
	}
	return k.String() + strconv.FormatBool(d.ofPaths())
}
