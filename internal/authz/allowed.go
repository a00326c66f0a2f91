package authz

import (
	"fmt"
	"slices"
	"strings"
)

// Allowed says whether a policy allows a request, and by which of its grants.
func Allowed(p *Policy, r Request) (bool, string) {
	for i := range p.Grants {
		if g := &p.Grants[i]; g.Allows(r) {
			return true, fmt.Sprintf("%s, for %s", g.Source, g.Principal)
		}
	}
	return false, "nothing allows it"
}

// Allows says whether this grant alone allows a request.
func (g *Grant) Allows(r Request) bool {
	return g.Holds(r.User, r.Groups) && (g.Everywhere || g.Namespace == r.Namespace) && g.Rule.Allows(r)
}

// Holds says whether somebody of that name and these groups meets the condition.
func (p Principal) Holds(user string, groups []string) bool {
	return p != Principal{} &&
		(p.User == "" || p.User == user) &&
		(p.Group == "" || slices.Contains(groups, p.Group))
}

// Allows says whether the rule covers a request, whoever asks.
func (u *Rule) Allows(r Request) bool {
	if !covers(u.Verbs, r.Verb) {
		return false
	}
	if !r.ResourceRequest {
		return slices.ContainsFunc(u.Paths, func(pattern string) bool { return pathMatches(pattern, r.Path) })
	}
	return covers(u.APIGroups, r.APIGroup) &&
		slices.ContainsFunc(u.Resources, func(s string) bool { return u.resourceMatches(s, r.Resource, r.Subresource) }) &&
		(len(u.ResourceNames) == 0 || slices.Contains(u.ResourceNames, r.Name))
}

func covers(set []string, s string) bool {
	return slices.Contains(set, "*") || slices.Contains(set, s)
}

// resourceMatches gives no meaning to "pods/*": it is the subresource of that very name, and matches nothing real.
func (u *Rule) resourceMatches(pattern, resource, subresource string) bool {
	switch {
	case pattern == "*":
		return true
	case u.AnySubresource:
		return pattern == resource
	case subresource == "":
		return pattern == resource
	}
	return pattern == resource+"/"+subresource || pattern == "*/"+subresource
}

func pathMatches(pattern, path string) bool {
	if pattern == path {
		return true
	}
	prefix, wild := pathPrefix(pattern)
	return wild && strings.HasPrefix(path, prefix)
}

// pathPrefix is what comes before a pattern's trailing stars.
func pathPrefix(pattern string) (prefix string, wild bool) {
	return strings.TrimRight(pattern, "*"), strings.HasSuffix(pattern, "*")
}
