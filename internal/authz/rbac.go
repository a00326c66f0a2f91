package authz

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// RBAC is all RBAC objects of a cluster.
type RBAC struct {
	Roles               []rbacv1.Role
	ClusterRoles        []rbacv1.ClusterRole
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// Policy returns what the objects allow. ClusterRoles with an aggregationRule get the rules that it selects, as the
// controller-manager would give them.
func (o *RBAC) Policy() (*Policy, error) {
	b := rbacBuilder{policy: new(Policy), roles: map[roleKey][]*Rule{}}
	rules, warnings, err := aggregate(o.ClusterRoles)
	if err != nil {
		return nil, err
	}
	b.policy.Warnings = warnings
	for i, role := range o.ClusterRoles {
		b.roles[roleKey{name: role.Name}] = fromRBAC(rules[i])
	}
	for _, role := range o.Roles {
		b.roles[roleKey{role.Namespace, role.Name}] = fromRBAC(role.Rules)
	}
	for _, binding := range o.ClusterRoleBindings {
		source := fmt.Sprintf("ClusterRoleBinding %q", binding.Name)
		b.bind(source, "", binding.RoleRef, binding.Subjects)
	}
	for _, binding := range o.RoleBindings {
		source := fmt.Sprintf("RoleBinding %q in %s", binding.Name, binding.Namespace)
		if binding.Namespace == "" {
			return nil, fmt.Errorf("RoleBinding %q has no namespace", binding.Name)
		}
		b.bind(source, binding.Namespace, binding.RoleRef, binding.Subjects)
	}
	return b.policy, nil
}

// roleKey is a Role, or without a namespace a ClusterRole.
type roleKey struct{ namespace, name string }

type rbacBuilder struct {
	policy *Policy
	roles  map[roleKey][]*Rule
}

func (b *rbacBuilder) warn(source, format string, args ...any) {
	b.policy.Warnings = append(b.policy.Warnings, source+": "+fmt.Sprintf(format, args...))
}

// bind grants a role to subjects, in one namespace, or everywhere if there is none.
func (b *rbacBuilder) bind(source, namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
	key := roleKey{name: ref.Name}
	switch {
	case ref.Kind == "Role" && namespace != "":
		key.namespace = namespace
	case ref.Kind != "ClusterRole":
		b.warn(source, "refers to a %s %q, so it grants nothing", ref.Kind, ref.Name)
		return
	}
	rules, there := b.roles[key]
	if !there {
		b.warn(source, "its %s %q is not there, so it grants nothing", ref.Kind, ref.Name)
		return
	}
	source += fmt.Sprintf(" of %s %q", ref.Kind, ref.Name)
	for _, s := range subjects {
		who, ok := principal(s, namespace)
		if !ok {
			b.warn(source, "a subject %s %q without a namespace or of an unknown kind matches nobody", s.Kind, s.Name)
			continue
		}
		for _, rule := range rules {
			b.policy.Grants = append(b.policy.Grants, Grant{
				Principal: who, Everywhere: namespace == "", Namespace: namespace, Rule: rule, Source: source})
		}
	}
}

func principal(s rbacv1.Subject, namespace string) (Principal, bool) {
	switch s.Kind {
	case rbacv1.UserKind:
		return Principal{User: s.Name}, s.Name != ""
	case rbacv1.GroupKind:
		return Principal{Group: s.Name}, s.Name != ""
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return Principal{User: ServiceAccountUser(namespace, s.Name)}, namespace != ""
	}
	return Principal{}, false
}

func fromRBAC(rules []rbacv1.PolicyRule) []*Rule {
	out := make([]*Rule, len(rules))
	for i, r := range rules {
		out[i] = &Rule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources,
			ResourceNames: r.ResourceNames, Paths: r.NonResourceURLs}
	}
	return out
}

// unmatchable warns of resources that look like a wildcard and are none.
func unmatchable(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, rule := range rules {
		for _, r := range rule.Resources {
			if strings.HasSuffix(r, "/*") {
				out = append(out, fmt.Sprintf("%q is no wildcard: it matches no subresource that exists", r))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
