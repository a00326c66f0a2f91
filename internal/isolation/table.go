package isolation

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// Row is a class, as people read of it.
type Row struct {
	Class    string `json:"class"`
	Standard string `json:"standard"`
	// Level is the Pod Security level of namespaces where the class is granted.
	Level   string `json:"level"`
	BuiltIn bool   `json:"builtIn"`
	// Controls say, by their names, how each is kept; "" is not at all.
	Controls map[string]string `json:"controls"`
	// Disk and Network are the most that each of its pods may take.
	Disk    v1alpha1.DiskCeiling    `json:"disk,omitzero"`
	Network v1alpha1.NetworkCeiling `json:"network,omitzero"`
	Uses    []Use                   `json:"uses"`
}

// Use is that some may use a class in a namespace.
type Use struct {
	// Namespace is where; "" is everywhere.
	Namespace string   `json:"namespace"`
	Who       []string `json:"who"`
	// By is what lets them: the file, or a binding that somebody made by hand.
	By string `json:"by"`
}

// Rows are all classes. By bindings, those of a cluster, it also says who was let by hand.
func Rows(i v1alpha1.Isolation, bindings []rbacv1.RoleBinding, clusterBindings []rbacv1.ClusterRoleBinding) []Row {
	var out []Row
	for _, c := range Classes(i) {
		row := Row{Class: c.Name, Standard: c.Standard, Level: c.Level(), BuiltIn: c.BuiltIn, Controls: map[string]string{}, Uses: []Use{}}
		for _, most := range unit.Ceilings(i) {
			if most.Class == c.Name {
				row.Disk, row.Network = most.Disk, most.Network
			}
		}
		for _, k := range controls {
			if c.Keeps(k.Name) {
				row.Controls[k.Name] = c.how(k.Name)
			}
		}
		if c.Name == Restricted {
			row.Uses = append(row.Uses, Use{Who: []string{"everybody"}, By: "default"})
		}
		declared := map[string][]string{}
		var namespaces []string
		for _, g := range i.Grants {
			for _, ns := range g.Namespaces {
				if g.Class != c.Name || slices.Contains(namespaces, ns) {
					continue
				}
				namespaces = append(namespaces, ns)
				for _, b := range Bindings(i, ns, nil) {
					if b.Name == RoleName(c.Name) {
						declared[ns] = people(b.Subjects)
					}
				}
				row.Uses = append(row.Uses, Use{Namespace: ns, Who: declared[ns], By: "spec.isolation.grants"})
			}
		}
		for _, g := range i.Grants {
			if g.Class == c.Name && len(g.NamespaceLabels) > 0 {
				row.Uses = append(row.Uses, Use{Namespace: labels.FormatLabels(g.NamespaceLabels), Who: people(subjects(g, "…")), By: "spec.isolation.grants"})
			}
		}
		for _, b := range bindings {
			if by := (Use{b.Namespace, people(b.Subjects), "RoleBinding " + b.Name}); binds(b.RoleRef, c.Name) && (b.Name != RoleName(c.Name) || !slices.Equal(by.Who, declared[b.Namespace])) {
				row.Uses = append(row.Uses, by)
			}
		}
		for _, b := range clusterBindings {
			if binds(b.RoleRef, c.Name) {
				row.Uses = append(row.Uses, Use{"", people(b.Subjects), "ClusterRoleBinding " + b.Name})
			}
		}
		out = append(out, row)
	}
	return out
}

func binds(ref rbacv1.RoleRef, class string) bool {
	return ref.Kind == "ClusterRole" && ref.Name == RoleName(class)
}

func people(subjects []rbacv1.Subject) []string {
	var out []string
	for _, s := range subjects {
		name := s.Name
		if s.Namespace != "" {
			name = s.Namespace + "/" + name
		}
		out = append(out, s.Kind+" "+name)
	}
	return out
}

// how says in few words how the class keeps a control: as which standard does, and but for what.
func (c Class) how(control string) string {
	k, _ := FindControl(control)
	standard := k.Standard
	if c.strict() && slices.Contains([]string{Capabilities, Seccomp, ProcMount}, control) {
		standard = Restricted
	}
	var but []string
	switch control {
	case ReadOnlyRoot:
		standard = "required"
	case Capabilities:
		but = c.Capabilities
	case HostNamespaces:
		but = c.HostNamespaces
	case HostPorts:
		for _, r := range c.HostPorts {
			but = append(but, span(r.From, r.To))
		}
	case HostPathVolumes:
		for _, p := range c.HostPaths {
			but = append(but, p.Prefix+map[bool]string{true: " to read"}[p.ReadOnly])
		}
	case Seccomp:
		if slices.Contains(c.Seccomp, "Unconfined") {
			but = []string{"Unconfined"}
		}
	case SELinux:
		for _, o := range c.SELinux {
			but = append(but, strings.Join([]string{o.User, o.Role, o.Type, o.Level}, ":"))
		}
	case NonRootUser:
		if len(c.RunAsUser) > 0 {
			var users []string
			for _, r := range c.RunAsUser {
				users = append(users, span(r.From, r.To))
			}
			return "only " + strings.Join(users, ", ")
		}
	}
	if len(but) > 0 {
		return standard + " but " + strings.Join(but, ", ")
	}
	return standard
}

func span(from, to int) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d-%d", from, to)
}
