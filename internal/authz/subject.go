package authz

import (
	"maps"
	"slices"
	"strings"
)

// Subject is who asks: a name and the groups it comes with.
type Subject struct {
	User   string   `json:"user"`
	Groups []string `json:"groups,omitempty"`
}

// String leaves out what everybody has.
func (s Subject) String() string {
	var groups []string
	for _, g := range s.Groups {
		if g != groupAuthenticated {
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		return s.User
	}
	return s.User + " (" + strings.Join(groups, ", ") + ")"
}

// ServiceAccountUser is the name that a ServiceAccount's token speaks for.
func ServiceAccountUser(namespace, name string) string {
	return serviceAccountPrefix + namespace + ":" + name
}

// ServiceAccountGroup has all ServiceAccounts of a namespace.
func ServiceAccountGroup(namespace string) string { return groupServiceAccounts + ":" + namespace }

// least returns the subject that meets a principal's condition and no more than comes with it, or false if nobody that
// the API server lets in can: who is not anonymous is in system:authenticated, and a ServiceAccount in the groups of
// all ServiceAccounts and of those of its namespace. Members of system:masters are never asked about.
func (p Principal) least(fresh string) (Subject, bool) {
	if p.Group == groupMasters || p == (Principal{}) {
		return Subject{}, false
	}
	if p.User == userAnonymous || p.Group == groupUnauthenticated {
		met := p.Holds(userAnonymous, []string{groupUnauthenticated})
		return Subject{userAnonymous, []string{groupUnauthenticated}}, met
	}
	user, groups := p.User, []string{groupAuthenticated}
	if p.Group != "" {
		groups = append(groups, p.Group)
	}
	namespace, ofNamespace := strings.CutPrefix(p.Group, groupServiceAccounts+":")
	switch {
	case user != "":
	case ofNamespace:
		user = ServiceAccountUser(namespace, fresh)
	case p.Group == groupServiceAccounts:
		user = ServiceAccountUser(fresh, fresh)
	default:
		user = fresh
	}
	if ns, ok := serviceAccountNamespace(user); ok {
		groups = append(groups, groupServiceAccounts, ServiceAccountGroup(ns))
	} else if ofNamespace {
		groups = append(groups, groupServiceAccounts)
	}
	slices.Sort(groups)
	return Subject{user, slices.Compact(groups)}, true
}

// serviceAccountNamespace is where the ServiceAccount of a user name is.
func serviceAccountNamespace(user string) (string, bool) {
	rest, ok := strings.CutPrefix(user, serviceAccountPrefix)
	if !ok {
		return "", false
	}
	namespace, name, ok := strings.Cut(rest, ":")
	return namespace, ok && namespace != "" && name != "" && !strings.Contains(name, ":")
}

// home is the namespace whose ServiceAccounts a principal is about, if it is.
func (p Principal) home() (string, bool) {
	if p.User != "" {
		return serviceAccountNamespace(p.User)
	}
	return strings.CutPrefix(p.Group, groupServiceAccounts+":")
}

// principals are all conditions that a subject meets, whatever a policy names.
func (s Subject) principals() []Principal {
	out := []Principal{{User: s.User}}
	for _, g := range s.Groups {
		out = append(out, Principal{Group: g}, Principal{User: s.User, Group: g})
	}
	return out
}

// Subjects are the ServiceAccounts, with the groups that they come with.
func (a Accounts) Subjects() []Subject {
	var out []Subject
	for _, namespace := range slices.Sorted(maps.Keys(a)) {
		for _, name := range a[namespace] {
			s, _ := Principal{User: ServiceAccountUser(namespace, name)}.least("")
			out = append(out, s)
		}
	}
	return out
}
