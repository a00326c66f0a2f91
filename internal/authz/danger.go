package authz

import (
	"cmp"
	"slices"
	"strings"
)

// danger is something that a policy may allow, and that its reader should see first.
type danger struct {
	name  string
	verbs []string
	group string
	// resources are like RBAC's.
	resources []string
}

const rbacGroup = "rbac.authorization.k8s.io"

var (
	read  = []string{"get", "list", "watch"}
	write = []string{"create", "update", "patch", "delete", "deletecollection"}
)

// everythingAllowed is worse than any danger with a name.
const everythingAllowed = "everything"

// dangers are in the order in which they are shown.
var dangers = []danger{
	{"secrets", slices.Concat(read, write), "", []string{"secrets"}},
	{"impersonate", []string{"impersonate"}, "", []string{"users", "groups", "serviceaccounts"}},
	{"impersonate", []string{"impersonate"}, "authentication.k8s.io", []string{"uids", "userextras"}},
	{"escalate", []string{"escalate", "bind"}, rbacGroup, []string{"clusterroles", "roles"}},
	{"exec", []string{"create", "get"}, "", []string{"pods/exec", "pods/attach", "pods/portforward", "pods/proxy"}},
	{"tokens", []string{"create"}, "", []string{"serviceaccounts/token"}},
	{"nodes", []string{"get", "create", "update", "patch", "delete"}, "", []string{"nodes/proxy"}},
	{"certificates", []string{"update", "patch"}, "certificates.k8s.io", []string{"certificatesigningrequests/approval", "certificatesigningrequests/status"}},
	{"certificates", []string{"approve", "sign"}, "certificates.k8s.io", []string{"signers"}},
	{"rbac", write, rbacGroup, []string{"clusterroles", "roles", "clusterrolebindings", "rolebindings"}},
	{"admission", write, "admissionregistration.k8s.io", []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}},
	{"proxy", []string{"create", "get"}, "", []string{"services/proxy"}},
	{"pods", []string{"create", "update", "patch"}, "", []string{"pods", "pods/ephemeralcontainers", "replicationcontrollers"}},
	{"pods", []string{"create", "update", "patch"}, "apps", []string{"deployments", "daemonsets", "statefulsets", "replicasets"}},
	{"pods", []string{"create", "update", "patch"}, "batch", []string{"jobs", "cronjobs"}},
}

// in returns what of a danger is in a box, as verb, resource and subresource.
func (d *danger) in(b *Box) (verb, resource, sub string, found bool) {
	if b.ofPaths() || !b.APIGroups.Has(d.group) {
		return "", "", "", false
	}
	for _, verb := range d.verbs {
		for _, r := range d.resources {
			resource, sub, _ := strings.Cut(r, "/")
			if b.Verbs.Has(verb) && b.Resources.Has(resource) && b.Subresources.Has(sub) {
				return verb, resource, sub, true
			}
		}
	}
	return "", "", "", false
}

// Everything says whether a box is all that there is to do with objects, somewhere at least.
func (b *Box) Everything() bool {
	return !b.ofPaths() && b.Verbs.All() && b.Resources.All() && b.Subresources.All() && b.APIGroups.All() && b.Names.All()
}

// dangersOf names what is dangerous in a box; "changes" is any other verb than reading.
func dangersOf(b *Box) []string {
	var out []string
	if b.Everything() {
		out = append(out, everythingAllowed)
	}
	for i := range dangers {
		if _, _, _, found := dangers[i].in(b); found && !slices.Contains(out, dangers[i].name) {
			out = append(out, dangers[i].name)
		}
	}
	if b.Verbs.Except || slices.ContainsFunc(b.Verbs.Values, func(v string) bool { return !slices.Contains(read, v) }) {
		out = append(out, "changes")
	}
	return out
}

// rank is the place of a box's worst danger.
func rank(names []string) int {
	if len(names) == 0 {
		return len(dangers) + 1
	}
	if names[0] == everythingAllowed {
		return -1
	}
	i := slices.IndexFunc(dangers, func(d danger) bool { return d.name == names[0] })
	if i < 0 {
		return len(dangers)
	}
	return i
}

// byDanger sorts the worst first, and what is as bad by how many it is for, and where.
func byDanger(a, b Difference) int {
	return cmp.Or(
		cmp.Compare(rank(a.Dangers), rank(b.Dangers)),
		wide(&b.Box)-wide(&a.Box),
		cmp.Compare(len(b.Principals), len(a.Principals)),
		cmp.Compare(a.Principals[0].User, b.Principals[0].User),
		cmp.Compare(a.Principals[0].Group, b.Principals[0].Group),
		a.compare(&b.Box))
}

func wide(b *Box) int {
	if b.Namespaces.Except {
		return 1
	}
	return 0
}

// witness is a request of a box by a subject: for the worst that is in it, or else for something that exists.
func witness(b *Box, s Subject, fresh string) Request {
	q := Request{User: s.User, Groups: s.Groups}
	if b.ofPaths() {
		q.Verb, q.Path = b.Verbs.any(fresh, "get", "post"), b.Paths.any(fresh)
		return q
	}
	q.ResourceRequest = true
	q.APIGroup, q.Verb = b.APIGroups.any(fresh, "", "apps"), b.Verbs.any(fresh, "get", "list", "create")
	q.Resource, q.Subresource = b.Resources.any(fresh, "pods", "configmaps"), b.Subresources.any(fresh, "")
	for i := range dangers {
		if verb, resource, sub, found := dangers[i].in(b); found {
			q.Verb, q.APIGroup, q.Resource, q.Subresource = verb, dangers[i].group, resource, sub
			break
		}
	}
	q.Namespace, q.Name = b.Namespaces.any(fresh, "default", fresh), b.Names.any(fresh, q.nameWish(fresh)...)
	return q
}

// nameWish is whether such a request has a name.
func (r Request) nameWish(fresh string) []string {
	if slices.Contains([]string{"list", "watch", "create", "deletecollection"}, r.Verb) && r.Subresource == "" {
		return []string{""}
	}
	return []string{fresh}
}

// any is a path of the set: one that it names, or one under a prefix, by a letter that leads to no exception.
func (p Paths) any(fresh string) string {
	for _, pattern := range p.In {
		prefix, wild := pathPrefix(pattern)
		if !wild {
			return pattern
		}
		if prefix == "" {
			prefix = "/"
		}
		for path, letter := prefix+fresh, 'a'; letter < '{'; letter++ {
			if p.Has(path) {
				return path
			}
			path = prefix + string(letter) + fresh
		}
	}
	for letter := '{'; ; letter++ { // exceptions for every letter, but not for all there are
		for _, pattern := range p.In {
			prefix, _ := pathPrefix(pattern)
			if path := prefix + string(letter) + fresh; p.Has(path) {
				return path
			}
		}
	}
}
