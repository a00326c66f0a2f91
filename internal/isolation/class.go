// Package isolation is what pods may do to the machine they run on: classes of pods, which controls of the Pod Security Standards
// each of them keeps, and who may use which. A decision is made twice from the same table, in CEL by API servers and in Go by
// whoever explains it; tests hold the two against each other.
package isolation

import (
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
)

const (
	// LabelClass is what a pod names its class by.
	LabelClass = "ashlar.dev/class"
	// Group and Resource are what RBAC is asked about. There is no such resource but in rules.
	Group = "ashlar.dev"
	// Resource is as Group.
	Resource = "podclasses"
	// Verb is what one may do with a class.
	Verb = "use"
)

// The classes that are always there. Each is called after the Pod Security Standard that it keeps.
const (
	Restricted = v1alpha1.ClassRestricted
	Baseline   = v1alpha1.ClassBaseline
	Privileged = v1alpha1.ClassPrivileged
)

// levels are Pod Security's, the strictest first.
var levels = []string{Restricted, Baseline, Privileged}

// Class is a kind of pods.
type Class struct {
	v1alpha1.PodClass
	// BuiltIn: it is one of those that are always there.
	BuiltIn bool
}

// Classes are all that pods can have: those that are always there, and then the declared ones. Ceilings are unit.Ceilings' to say.
func Classes(i v1alpha1.Isolation) []Class {
	var out []Class
	for _, name := range levels {
		out = append(out, Class{PodClass: v1alpha1.PodClass{Name: name, Standard: name, HostUsers: name == Privileged}, BuiltIn: true})
	}
	for _, declared := range i.Classes {
		if !slices.Contains(levels, declared.Name) {
			if declared.Standard == "" {
				declared.Standard = Restricted
			}
			out = append(out, Class{PodClass: declared})
		}
	}
	return out
}

// Find returns the class of that name.
func Find(classes []Class, name string) (Class, bool) {
	i := slices.IndexFunc(classes, func(c Class) bool { return c.Name == name })
	if i < 0 {
		return Class{}, false
	}
	return classes[i], true
}

// NameOf is the name of the class of a pod with these labels.
func NameOf(labels map[string]string) string {
	if name, ok := labels[LabelClass]; ok {
		return name
	}
	return Restricted
}

// Keeps says whether a control holds for the class' pods, if with exceptions.
func (c Class) Keeps(control string) bool {
	i := slices.IndexFunc(controls, func(k Control) bool { return k.Name == control })
	if i < 0 || slices.Contains(c.Relax, control) {
		return false
	}
	switch k := controls[i]; {
	case k.Name == ReadOnlyRoot:
		return c.ReadOnlyRoot
	case k.Name == NonRootUser && len(c.RunAsUser) > 0:
		return true
	case k.Name == NonRoot && c.root():
		return false
	case k.Name == HostPorts && slices.Contains(c.HostNamespaces, "network"):
		return false // whoever shares the machine's network takes what ports it likes, whether it says so or not
	default:
		return slices.Index(levels, c.Standard) <= slices.Index(levels, k.Standard)
	}
}

// root says whether the class' pods may be root by their user.
func (c Class) root() bool {
	return slices.ContainsFunc(c.RunAsUser, func(r v1alpha1.IDRange) bool { return r.From == 0 })
}

// strict says whether a control that both standards have is kept as restricted has it.
func (c Class) strict() bool { return c.Standard == Restricted }

// Level is the strictest Pod Security level at which all that the class allows passes.
func (c Class) Level() string {
	level := slices.Index(levels, c.Standard)
	loosen := func(to string) { level = max(level, slices.Index(levels, to)) }
	for _, name := range c.Relax {
		if k, ok := FindControl(name); ok {
			loosen(k.loosest())
		}
	}
	for _, capability := range c.Capabilities {
		switch {
		case capability == netBindService:
		case slices.Contains(baselineCapabilities, capability):
			loosen(Baseline)
		default:
			loosen(Privileged)
		}
	}
	if len(c.HostNamespaces)+len(c.HostPorts)+len(c.HostPaths) > 0 || slices.Contains(c.Seccomp, "Unconfined") {
		loosen(Privileged)
	}
	for _, o := range c.SELinux {
		if !standardSELinux(o.User, o.Role, o.Type) {
			loosen(Privileged)
		}
	}
	if c.root() {
		loosen(Baseline)
	}
	return levels[level]
}
