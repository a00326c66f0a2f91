package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/internal/authz"
)

// The words of all policies and requests: few, so that they meet, and awkward, so that they nearly meet.
var (
	users = []string{"alice", "bob", "system:anonymous", "system:serviceaccount:a:x", "system:serviceaccount:a:x:y",
		"system:serviceaccount:b:x", "system:serviceaccount:a:"}
	groups      = []string{"dev", "ops", "system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:serviceaccounts:a", "de"}
	verbs       = []string{"get", "list", "watch", "create", "delete", "impersonate", "GET"}
	apiGroups   = []string{"", "apps", "app", "rbac.authorization.k8s.io"}
	resources   = []string{"pods", "secrets", "deployments", "pod", "pods/log", "*/log"}
	subs        = []string{"log", "exec", "scale", "lo", "log/x", "*", "x"}
	namespaces  = []string{"a", "b", "kube-system"}
	names       = []string{"x", "y", "x*"}
	paths       = []string{"/", "/healthz", "/healthz/", "/healthz/ping", "/healthz/ping/x", "/health", "/metrics", "metrics", "/healthz*", "*"}
	pathForms   = []string{"/*", "/healthz*", "/healthz/*", "/healthz/**", "/health*", "/h*z", "**", "metrics*", "/healthz/ping*", "*/ping"}
	awkwardSubs = []string{"pods/*", "*/*", "*/", "/log", "**", "pods/log/x", "*/log/x", "*/exec", "*/scale", "pods/exec", "secrets/lo"}
)

// random makes policies and requests.
type random struct{ *rand.Rand }

func (r random) one(of ...[]string) string {
	all := []string{}
	for _, s := range of {
		all = append(all, s...)
	}
	return all[r.IntN(len(all))]
}

// chance is true once in n times.
func (r random) chance(n int) bool { return r.IntN(n) == 0 }

// or returns the first with a chance of one in n, the second otherwise.
func (r random) or(n int, rare, usual string) string {
	if r.chance(n) {
		return rare
	}
	return usual
}

func (r random) some(most int, of ...[]string) []string {
	var out []string
	for range r.IntN(most + 1) {
		out = append(out, r.one(of...))
	}
	return out
}

// request is for anything, or takes fields from one of the policy's grants, so that it is allowed or just not.
func (r random) request(p *authz.Policy) authz.Request {
	q := authz.Request{User: r.one(users), Groups: r.some(4, groups), Verb: r.or(12, "*", r.one(verbs)), ResourceRequest: !r.chance(4)}
	if q.ResourceRequest || r.chance(8) {
		q.Resource = r.or(15, "*", r.or(30, "", r.one(resources)))
		q.APIGroup = r.or(15, "*", r.one(apiGroups))
		q.Subresource = r.or(2, "", r.one(subs))
		q.Namespace = r.or(5, "", r.or(15, "*", r.one(namespaces)))
		q.Name = r.or(3, "", r.one(names))
	}
	if !q.ResourceRequest || r.chance(8) {
		q.Path = r.or(20, "", r.one(paths))
	}
	if len(p.Grants) > 0 && !r.chance(4) {
		r.aim(&q, &p.Grants[r.IntN(len(p.Grants))])
	}
	return q
}

// aim makes a request what a grant allows, but for a field or two.
func (r random) aim(q *authz.Request, g *authz.Grant) {
	take := func(field *string, from ...string) {
		if len(from) > 0 && !r.chance(12) {
			*field = r.one(from)
		}
	}
	if g.User != "" {
		take(&q.User, g.User)
	}
	if g.Group != "" && !r.chance(12) {
		q.Groups = append(q.Groups, g.Group)
	}
	if !g.Everywhere {
		take(&q.Namespace, g.Namespace)
	}
	take(&q.Verb, g.Rule.Verbs...)
	if q.ResourceRequest = len(g.Rule.Resources) > 0; !q.ResourceRequest {
		take(&q.Path, g.Rule.Paths...)
		q.Path = strings.Replace(q.Path, "*", r.one([]string{"", "x", "/", "*"}), r.IntN(3))
		return
	}
	take(&q.APIGroup, g.Rule.APIGroups...)
	take(&q.Resource, g.Rule.Resources...)
	take(&q.Name, g.Rule.ResourceNames...)
	if resource, sub, ok := strings.Cut(q.Resource, "/"); ok && !r.chance(12) {
		q.Resource, q.Subresource = r.or(4, r.one(resources), resource), sub
	} else if !r.chance(4) {
		q.Subresource = ""
	}
}

// abac is a policy file. Half of its lines leave something out, or have a wildcard.
func (r random) abac() []byte {
	var out bytes.Buffer
	for range 1 + r.IntN(8) {
		if r.chance(6) {
			out.WriteString([]string{"\n", "# a comment\n", "  \t\n"}[r.IntN(3)])
		}
		spec := authz.ABACSpec{
			User: r.or(12, "*", r.or(2, "", r.one(users))), Group: r.or(12, "*", r.or(3, "", r.one(groups))),
			Readonly: r.chance(2), APIGroup: r.or(3, "*", r.one(apiGroups)), Resource: r.or(3, "*", r.or(4, "", r.one(resources))),
			Namespace: r.or(3, "*", r.or(6, "", r.one(namespaces))), NonResourcePath: r.or(3, "", r.or(6, "*", r.one(paths, pathForms))),
		}
		line, err := json.Marshal(authz.ABACLine{TypeMeta: metav1.TypeMeta{
			APIVersion: "abac.authorization.kubernetes.io/v1beta1", Kind: "Policy"}, Spec: spec})
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&out, "%s%s\n", []string{"", "", " "}[r.IntN(3)], line)
	}
	return out.Bytes()
}

func (r random) rbac() *authz.RBAC {
	o := new(authz.RBAC)
	for i := range 4 {
		o.ClusterRoles = append(o.ClusterRoles, rbacv1.ClusterRole{ObjectMeta: named("", i), Rules: r.rules()})
	}
	for _, ns := range namespaces {
		for i := range 2 {
			o.Roles = append(o.Roles, rbacv1.Role{ObjectMeta: named(ns, i), Rules: r.rules()})
		}
	}
	for i := range 1 + r.IntN(3) {
		o.ClusterRoleBindings = append(o.ClusterRoleBindings,
			rbacv1.ClusterRoleBinding{ObjectMeta: named("", i), RoleRef: r.ref("ClusterRole"), Subjects: r.subjects()})
	}
	for i := range r.IntN(6) {
		o.RoleBindings = append(o.RoleBindings, rbacv1.RoleBinding{
			ObjectMeta: named(r.one(namespaces), i), RoleRef: r.ref([]string{"Role", "ClusterRole"}[r.IntN(2)]), Subjects: r.subjects()})
	}
	return o
}

func named(namespace string, i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("role-%d", i)}
}

// ref is now and then of a role that is not there, or of a kind that does not exist.
func (r random) ref(kind string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: r.or(20, "Rule", r.or(20, "Role", kind)), Name: fmt.Sprintf("role-%d", r.IntN(5))}
}

func (r random) subjects() []rbacv1.Subject {
	var out []rbacv1.Subject
	for range 1 + r.IntN(3) {
		switch r.IntN(7) {
		case 0, 1:
			out = append(out, rbacv1.Subject{Kind: "User", Name: r.or(12, "*", r.one(users))})
		case 2, 3, 4:
			out = append(out, rbacv1.Subject{Kind: "Group", Name: r.or(12, "*", r.one(groups))})
		case 5:
			out = append(out, rbacv1.Subject{Kind: "ServiceAccount", Name: r.one([]string{"x", "x:y", "y"}), Namespace: r.or(2, "", r.one(namespaces))})
		case 6:
			out = append(out, rbacv1.Subject{Kind: r.one([]string{"user", "SystemUser", ""}), Name: r.one(users)})
		}
	}
	return out
}

// rules are not all that the API server would let pass: its authorizer does not check, and neither may ours rely on it.
func (r random) rules() []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for range r.IntN(4) {
		star := func(n int, s []string) []string {
			if r.chance(n) {
				return append(s, "*")
			}
			return s
		}
		rule := rbacv1.PolicyRule{Verbs: star(3, r.some(3, verbs, []string{""}))}
		if !r.chance(3) {
			rule.APIGroups = star(3, r.some(3, apiGroups))
			rule.Resources = star(4, r.some(4, resources, awkwardSubs))
		}
		if r.chance(4) {
			rule.ResourceNames = r.some(2, names, []string{"", "*"})
		}
		if r.chance(3) {
			rule.NonResourceURLs = star(5, r.some(3, paths, pathForms, []string{""}))
		}
		out = append(out, rule)
	}
	return out
}
