package authz

import (
	"cmp"
	_ "embed"
	"slices"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
)

//go:embed bootstrap.yaml
var bootstrap []byte

// Bootstrap are the roles and bindings that an API server makes by itself (rbac/bootstrappolicy of the version that
// test/oracle pins). They are the caller's to change.
var Bootstrap = sync.OnceValue(func() *RBAC {
	o, err := ReadRBAC(bootstrap, "bootstrap.yaml")
	if err != nil {
		panic(err) // a test reads it
	}
	return o
})

// everybodysNames are of the roles among them that everybody has who has proved to be somebody, or to be a
// ServiceAccount: find out what the API has and what one may do in it, and whom to trust. Without it no client works.
var everybodysNames = []string{"system:basic-user", "system:cluster-trust-bundle-discovery", "system:discovery", "system:public-info-viewer",
	"system:service-account-issuer-discovery"}

// reviews are of oneself, by API group.
var reviews = []kinds{
	{"authentication.k8s.io", []string{"selfsubjectreviews"}},
	{"authorization.k8s.io", []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}},
}

// everybodysRoles are Kubernetes' own.
func everybodysRoles() *RBAC {
	out, all := new(RBAC), Bootstrap()
	for _, role := range all.ClusterRoles {
		if slices.Contains(everybodysNames, role.Name) {
			out.ClusterRoles = append(out.ClusterRoles, role)
		}
	}
	for _, b := range all.ClusterRoleBindings {
		if slices.Contains(everybodysNames, b.Name) {
			out.ClusterRoleBindings = append(out.ClusterRoleBindings, b)
		}
	}
	return out
}

// everybodysLines is the same as ABAC can say it, who has every verb or just reads.
func everybodysLines() []ABACSpec {
	o := everybodysRoles()
	var out []ABACSpec
	for _, b := range o.ClusterRoleBindings {
		role := o.ClusterRoles[slices.IndexFunc(o.ClusterRoles, func(r rbacv1.ClusterRole) bool { return r.Name == b.RoleRef.Name })]
		for _, s := range b.Subjects {
			out = append(out, linesOf(s.Name, role.Rules)...)
		}
	}
	slices.SortFunc(out, func(a, b ABACSpec) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.APIGroup, b.APIGroup), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.NonResourcePath, b.NonResourcePath))
	})
	return slices.Compact(out)
}

func linesOf(group string, rules []rbacv1.PolicyRule) (out []ABACSpec) {
	for _, r := range rules {
		readonly := !slices.ContainsFunc(r.Verbs, func(v string) bool { return !slices.Contains(read, v) })
		for _, path := range r.NonResourceURLs {
			out = append(out, ABACSpec{Group: group, Readonly: readonly, NonResourcePath: path})
		}
		for _, g := range r.APIGroups {
			for _, resource := range r.Resources {
				out = append(out, ABACSpec{Group: group, Readonly: readonly, APIGroup: g, Resource: resource, Namespace: "*"})
			}
		}
	}
	return out
}

// Union is all objects of several.
func Union(of ...*RBAC) *RBAC {
	out := new(RBAC)
	for _, o := range of {
		out.ClusterRoles = slices.Concat(out.ClusterRoles, o.ClusterRoles)
		out.ClusterRoleBindings = slices.Concat(out.ClusterRoleBindings, o.ClusterRoleBindings)
		out.Roles = slices.Concat(out.Roles, o.Roles)
		out.RoleBindings = slices.Concat(out.RoleBindings, o.RoleBindings)
	}
	return out
}
