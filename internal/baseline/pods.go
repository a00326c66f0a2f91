package baseline

import (
	"maps"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
)

// silent are the classes whose pods get something that they do not ask for, where they say nothing.
type silent struct {
	// HostUsers keep the machine's users.
	HostUsers []string
	// NonRoot must say that they are not root, and NoRootUser not name it: the standard asks less of a pod with users of its
	// own, and what it asks shall not hang on what we add.
	NonRoot, NoRootUser []string
	// Escalating may gain privileges, and have to say so.
	Escalating []string
	// ReadOnlyRoot have a root that they cannot write to.
	ReadOnlyRoot []string
	// Default is what pods are that name no class, in CEL; empty: restricted, everywhere.
	Default string
}

func silentOf(i v1alpha1.Isolation) (s silent) {
	add := func(to *[]string, c isolation.Class, is bool) {
		if is {
			*to = append(*to, c.Name)
		}
	}
	for _, c := range isolation.Classes(i) {
		rootUser := slices.ContainsFunc(c.RunAsUser, func(r v1alpha1.IDRange) bool { return r.From == 0 })
		add(&s.HostUsers, c, c.HostUsers)
		add(&s.NonRoot, c, c.Keeps(isolation.NonRoot))
		add(&s.NoRootUser, c, c.Keeps(isolation.NonRootUser) && !rootUser)
		add(&s.Escalating, c, c.Name != isolation.Privileged && !c.Keeps(isolation.PrivilegeEscal))
		add(&s.ReadOnlyRoot, c, c.ReadOnlyRoot)
	}
	s.Default = defaultClass(i)
	return s
}

// defaultClass says in CEL which class grants have pods be of that name none.
func defaultClass(i v1alpha1.Isolation) string {
	out, declared := "'"+isolation.Restricted+"'", false
	for _, g := range slices.Backward(i.Grants) { // the first counts
		if !g.Default {
			continue
		}
		declared = true
		where := "namespaceObject.metadata.name in " + celList(g.Namespaces)
		if len(g.Namespaces) == 0 {
			var has []string
			for _, key := range slices.Sorted(maps.Keys(g.NamespaceLabels)) {
				has = append(has, "namespaceObject.metadata.?labels[?'"+key+"'].orValue('') == '"+g.NamespaceLabels[key]+"'")
			}
			where = strings.Join(has, " && ")
		}
		out = "(" + where + " ? '" + g.Class + "' : " + out + ")"
	}
	if !declared {
		return ""
	}
	return out
}

// celList is a list of strings in CEL.
func celList(of []string) string {
	quoted := make([]string, len(of))
	for i, s := range of {
		quoted[i] = "'" + s + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
