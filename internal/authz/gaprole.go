package authz

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fewNames is how many objects a rule may name. Who asks for more asks for the kind.
const fewNames = 5

// action is a verb, and a resource or a path that it is asked of.
type action struct{ group, resource, path, verb string }

// rulesFor are as few rules as allow these requests. Each is a product, so to join two that differ in one list allows
// nothing new.
func rulesFor(uses []*use) []rbacv1.PolicyRule {
	names := map[action][]string{}
	for _, u := range uses {
		a := action{u.APIGroup, strings.TrimSuffix(u.Resource+"/"+u.Subresource, "/"), u.Path, u.Verb}
		names[a] = append(names[a], u.Name)
	}
	var rules []rbacv1.PolicyRule
	for _, a := range slices.SortedFunc(maps.Keys(names), action.compare) {
		rules = append(rules, a.rule(names[a]))
	}
	for _, list := range []func(*rbacv1.PolicyRule) *[]string{
		func(r *rbacv1.PolicyRule) *[]string { return &r.Verbs },
		func(r *rbacv1.PolicyRule) *[]string { return &r.Resources },
		func(r *rbacv1.PolicyRule) *[]string { return &r.NonResourceURLs },
		func(r *rbacv1.PolicyRule) *[]string { return &r.APIGroups },
	} {
		rules = joinedRules(rules, list)
	}
	return rules
}

// compare has the verbs in the order that people write them in.
func (a action) compare(b action) int {
	return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.group, b.group), cmp.Compare(a.resource, b.resource),
		cmp.Compare(verbOrder(a.verb), verbOrder(b.verb)), cmp.Compare(a.verb, b.verb))
}

func verbOrder(verb string) int {
	known := slices.Concat(read, write)
	if i := slices.Index(known, verb); i >= 0 {
		return i
	}
	return len(known)
}

// rule allows the action on the objects that were named, if each time one was.
func (a action) rule(names []string) rbacv1.PolicyRule {
	verbs := []string{a.verb}
	if a.path != "" {
		return rbacv1.PolicyRule{Verbs: verbs, NonResourceURLs: []string{a.path}}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if names[0] == "" || len(names) > fewNames {
		names = nil
	}
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{a.group}, Resources: []string{a.resource}, ResourceNames: names}
}

// joinedRules joins rules that differ in this list only.
func joinedRules(rules []rbacv1.PolicyRule, list func(*rbacv1.PolicyRule) *[]string) []rbacv1.PolicyRule {
	at := map[string]int{}
	var out []rbacv1.PolicyRule
	for _, r := range rules {
		rest := r
		*list(&rest) = nil
		key := fmt.Sprintf("%q%q%q%q%q", rest.Verbs, rest.APIGroups, rest.Resources, rest.ResourceNames, rest.NonResourceURLs)
		i, again := at[key]
		if !again {
			at[key] = len(out)
			out = append(out, r)
			continue
		}
		to := list(&out[i])
		*to = slices.Concat(*to, *list(&r))
	}
	return out
}

// annotationDangers has a role's dangers, so that they are seen by whoever reviews it.
const annotationDangers = "ashlar.dev/dangers"

// RBACFor are the roles that fill the gaps, each bound to the one that lacks it.
func RBACFor(gaps []Gap) *RBAC {
	out := new(RBAC)
	for i := range gaps {
		g := &gaps[i]
		meta := metav1.ObjectMeta{Name: g.roleName(), Namespace: g.Namespace}
		roleMeta := *meta.DeepCopy()
		if len(g.Dangers) > 0 {
			roleMeta.Annotations = map[string]string{annotationDangers: strings.Join(g.Dangers, ",")}
		}
		ref, subjects := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}, []rbacv1.Subject{g.Subject}
		if g.Namespace != "" {
			out.Roles = append(out.Roles, rbacv1.Role{TypeMeta: rbacType("Role"), ObjectMeta: roleMeta, Rules: g.Rules})
			out.RoleBindings = append(out.RoleBindings, rbacv1.RoleBinding{TypeMeta: rbacType("RoleBinding"), ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
			continue
		}
		ref.Kind = "ClusterRole"
		out.ClusterRoles = append(out.ClusterRoles, rbacv1.ClusterRole{TypeMeta: rbacType(ref.Kind), ObjectMeta: roleMeta, Rules: g.Rules})
		out.ClusterRoleBindings = append(out.ClusterRoleBindings, rbacv1.ClusterRoleBinding{TypeMeta: rbacType("ClusterRoleBinding"), ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
	}
	return out
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9@:._-]{1,200}$`)

// roleName is another for each subject, or one would get the other's role: a dot for ServiceAccounts, whose namespaces
// have none, a colon for other users, and neither where the name would not do as an object's.
func (g *Gap) roleName() string {
	const prefix = "ashlar-gap-"
	switch s := g.Subject; {
	case s.Kind == rbacv1.ServiceAccountKind:
		return prefix + s.Namespace + "." + s.Name
	case plainName.MatchString(s.Name):
		return prefix + "user:" + s.Name
	}
	return fmt.Sprintf("%s%.10x", prefix, sha256.Sum256([]byte(g.Subject.Name)))
}
