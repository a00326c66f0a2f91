package authz

import (
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// seed returns the seed's policy for these namespaces, as ABAC and as RBAC.
func seed(t *testing.T, namespaces ...string) (abac, rbac *Policy) {
	t.Helper()
	accounts := Accounts{}
	for _, ns := range append(namespaces, "kube-system", "monitoring") {
		accounts[ns] = []string{"default", "app"}
	}
	m := Model(v1alpha1.SeedClasses())
	text, err := m.ABAC(accounts)
	if err != nil {
		t.Fatal(err)
	}
	if abac, err = ReadABAC(text, "seed"); err != nil {
		t.Fatal(err)
	}
	if rbac, err = m.RBAC(accounts).Policy(); err != nil {
		t.Fatal(err)
	}
	if len(abac.Warnings)+len(rbac.Warnings) > 0 {
		t.Errorf("warnings: %q %q", abac.Warnings, rbac.Warnings)
	}
	return abac, rbac
}

func as(namespace, verb, what, in string) Request {
	s, _ := Principal{Group: ServiceAccountGroup(namespace)}.least("app")
	q := Request{User: s.User, Groups: s.Groups, Verb: verb}
	if strings.HasPrefix(what, "/") {
		q.Path = what
		return q
	}
	q.ResourceRequest, q.Namespace = true, in
	q.Resource, q.Subresource, _ = strings.Cut(what, "/")
	return q
}

// The sentences of the specification, and what RBAC takes back.
func TestSeed(t *testing.T) {
	abac, rbac := seed(t, "default", "kube-system", "team", "team")
	for _, c := range []struct {
		q          Request
		abac, rbac bool
	}{
		{as("kube-system", "delete", "nodes", ""), true, false},
		{as("kube-system", "post", "/debug/pprof", ""), true, false},
		{as("monitoring", "list", "pods", "team"), true, true},
		{as("monitoring", "get", "/metrics", ""), true, true},
		{as("monitoring", "get", "nodes", ""), true, true},
		{as("monitoring", "delete", "pods", "monitoring"), false, false},
		{as("monitoring", "get", "secrets", "team"), true, false},
		{as("monitoring", "get", "nodes/proxy", ""), true, false},
		{as("monitoring", "get", "/debug/pprof", ""), true, false},
		{as("team", "watch", "pods", "team"), true, true},
		{as("team", "get", "pods/log", "team"), true, true},
		{as("team", "list", "pods", "default"), false, false},
		{as("team", "list", "pods", ""), false, false},
		{as("team", "create", "pods", "team"), false, false},
		{as("team", "get", "/metrics", ""), false, false},
		{as("team", "get", "secrets", "team"), true, false},
		{as("team", "get", "pods/exec", "team"), true, false},
		{as("unknown", "get", "pods", "unknown"), false, false},
	} {
		if ok, why := Allowed(abac, c.q); ok != c.abac {
			t.Errorf("ABAC: %v: %t (%s)", c.q, ok, why)
		}
		if ok, why := Allowed(rbac, c.q); ok != c.rbac {
			t.Errorf("RBAC: %v: %t (%s)", c.q, ok, why)
		}
	}
}

// From ABAC to RBAC nobody gains anything, all lose secrets and exec, and a thousand namespaces are a few lines.
func TestSeedCompared(t *testing.T) {
	small, large := comparedSeed(t, 2), comparedSeed(t, 1000)
	if len(small.Widened) > 0 {
		t.Errorf("widened: %q", lines(small.Widened))
	}
	if len(small.Narrowed) != len(large.Narrowed) {
		t.Errorf("%d differences for 2 namespaces, %d for 1000", len(small.Narrowed), len(large.Narrowed))
	}
	if groups := Grouped(large.Narrowed); len(groups) > 20 {
		t.Errorf("%d groups, the first with %d differences", len(groups), len(groups[0].Members))
	}
	abac, rbac := seed(t, numbered(2)...)
	lost := func(q Request) bool {
		narrowed := CompareFor(abac, rbac, q.Subject()).Narrowed
		return slices.ContainsFunc(narrowed, func(d Difference) bool { return d.Has(q) })
	}
	for _, what := range []string{"secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "serviceaccounts/token"} {
		if !lost(as("n0", "get", what, "n0")) || !lost(as("monitoring", "get", what, "n1")) {
			t.Errorf("%s is not said to be lost", what)
		}
	}
	if lost(as("n0", "list", "pods", "n0")) || lost(as("n0", "create", "selfsubjectreviews", "")) {
		t.Error("too much is said to be lost")
	}
	if d := small.Narrowed[0]; d.Dangers[0] != "secrets" || d.Principals[0].Group != "system:serviceaccounts:kube-system" {
		t.Errorf("the first line is %v of %v with %v, witness %v", &d.Box, d.Principals, d.Dangers, d.Witness)
	}
	none := as("n0", "list", "pods", "n0")
	none.User = ServiceAccountUser("n0", DefaultAccount)
	if !lost(none) {
		t.Error("what pods that name no ServiceAccount could read is not said to be lost")
	}
}

func comparedSeed(t *testing.T, n int) Comparison {
	abac, rbac := seed(t, numbered(n)...)
	return Compare(abac, rbac)
}
