package baseline

import (
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
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
}

// The names of controls and standards that matter here, as the Pod Security Standards have them.
const (
	standardBaseline   = "baseline"
	classRestricted    = "restricted"
	classPrivileged    = "privileged"
	controlEscalation  = "Privilege Escalation"
	controlRunNonRoot  = "Running as Non-root"
	controlNonRootUser = "Running as Non-root user"
)

// silentOf sorts the built in classes and the cluster's own.
func silentOf(i v1alpha1.Isolation) silent {
	s := silent{HostUsers: []string{classPrivileged}, NonRoot: []string{classRestricted}, NoRootUser: []string{classRestricted}, Escalating: []string{standardBaseline}}
	for _, c := range i.Classes {
		if c.Name == classRestricted || c.Name == standardBaseline || c.Name == classPrivileged {
			continue // changes ceilings alone
		}
		relaxes := func(control string) bool {
			return slices.ContainsFunc(c.Relax, func(r string) bool { return strings.EqualFold(r, control) })
		}
		if c.HostUsers {
			s.HostUsers = append(s.HostUsers, c.Name)
		}
		if c.Standard != standardBaseline && !relaxes(controlRunNonRoot) {
			s.NonRoot = append(s.NonRoot, c.Name)
		}
		if c.Standard != standardBaseline && !relaxes(controlNonRootUser) {
			s.NoRootUser = append(s.NoRootUser, c.Name)
		}
		if c.Standard == standardBaseline || relaxes(controlEscalation) {
			s.Escalating = append(s.Escalating, c.Name)
		}
		if c.ReadOnlyRoot {
			s.ReadOnlyRoot = append(s.ReadOnlyRoot, c.Name)
		}
	}
	return s
}

// celList is a list of strings in CEL.
func celList(of []string) string {
	quoted := make([]string, len(of))
	for i, s := range of {
		quoted[i] = "'" + s + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
