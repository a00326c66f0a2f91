package authz

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("n%d", i)
	}
	return out
}

func TestLeastSubject(t *testing.T) {
	for p, want := range map[Principal]Subject{
		{User: "alice"}:                                  {"alice", []string{"system:authenticated"}},
		{User: "alice", Group: "dev"}:                    {"alice", []string{"dev", "system:authenticated"}},
		{Group: "dev"}:                                   {"fresh", []string{"dev", "system:authenticated"}},
		{Group: "system:authenticated"}:                  {"fresh", []string{"system:authenticated"}},
		{User: "system:serviceaccount:a:x"}:              {"system:serviceaccount:a:x", []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:a"}},
		{Group: "system:serviceaccounts:a"}:              {"system:serviceaccount:a:fresh", []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:a"}},
		{User: "system:serviceaccount:a:x:y"}:            {"system:serviceaccount:a:x:y", []string{"system:authenticated"}},
		{Group: "system:unauthenticated"}:                {"system:anonymous", []string{"system:unauthenticated"}},
		{User: "system:anonymous"}:                       {"system:anonymous", []string{"system:unauthenticated"}},
		{User: "bob", Group: "system:serviceaccounts:a"}: {"bob", []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:a"}},
		{User: "system:anonymous", Group: "dev"}:         {},
		{User: "alice", Group: "system:unauthenticated"}: {},
		{Group: "system:masters"}:                        {},
		{User: "alice", Group: "system:masters"}:         {},
		{}:                                               {},
	} {
		got, possible := p.least("fresh")
		if possible != (want.User != "") || possible && !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %v %t, want %v", p, got, possible, want)
		}
	}
}

func grant(p Principal, verb, resource, namespace string) Grant {
	return Grant{Principal: p, Everywhere: namespace == "*", Namespace: namespace, Source: "here",
		Rule: &Rule{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{resource}}}
}

// What everybody gets is said of everybody once, and what somebody had through a group before is no news for him.
func TestCompareSaysOnce(t *testing.T) {
	alice, all := Principal{User: "alice"}, Principal{Group: groupAuthenticated}
	a := &Policy{Grants: []Grant{grant(alice, "get", "pods", "*")}}
	b := &Policy{Grants: []Grant{grant(alice, "get", "pods", "*"), grant(all, "list", "pods", "*")}}
	if got, want := lines(Compare(a, b).Widened), []string{"[group system:authenticated] false list pods of core []"}; !slices.Equal(got, want) {
		t.Errorf("widened %q, want %q", got, want)
	}
	one := Principal{User: "system:serviceaccount:a:x"}
	a = &Policy{Grants: []Grant{grant(Principal{Group: "system:serviceaccounts:a"}, "get", "pods", "a")}}
	b = &Policy{Grants: []Grant{grant(one, "get", "pods", "a")}}
	c := Compare(a, b)
	if len(c.Widened) > 0 {
		t.Errorf("a ServiceAccount is in its groups, but widened %q", lines(c.Widened))
	}
	if got, want := lines(c.Narrowed), []string{"[group system:serviceaccounts:a] true get pods of core in a []"}; !slices.Equal(got, want) {
		t.Errorf("narrowed %q, want %q", got, want)
	}
}

func TestDangerFirst(t *testing.T) {
	p := new(Policy)
	for _, g := range []struct{ verb, resource string }{{"get", "configmaps"}, {"create", "configmaps"}, {"get", "nodes/proxy"},
		{"create", "serviceaccounts/token"}, {"create", "pods/exec"}, {"impersonate", "users"}, {"list", "secrets"}} {
		p.Grants = append(p.Grants, grant(Principal{User: g.verb + g.resource}, g.verb, g.resource, "*"))
	}
	root := grant(Principal{User: "root"}, "*", "*", "*")
	root.Rule.APIGroups = []string{"*"}
	p.Grants = append(p.Grants, root)
	var got []string
	for _, d := range Compare(new(Policy), p).Widened {
		got = append(got, append(d.Dangers, "reads")[0])
	}
	if want := []string{"everything", "secrets", "impersonate", "exec", "tokens", "nodes", "changes", "reads"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestWho(t *testing.T) {
	p := &Policy{Grants: []Grant{grant(Principal{User: "alice"}, "get", "pods", "a"), grant(Principal{User: "alice"}, "get", "pods", "b"),
		grant(Principal{Group: "dev"}, "*", "*", "*"), grant(Principal{User: "bob"}, "get", "pods", "*"), grant(Principal{User: "eve"}, "list", "pods", "*")}}
	p.Grants[3].Rule.ResourceNames = []string{"x"}
	ask := func(q Query) string {
		q.Request = Request{Verb: "get", ResourceRequest: true, Resource: "pods"}
		var out string
		for _, h := range Who(p, q) {
			out += fmt.Sprint(h.Principal, h.Everywhere, h.Namespaces, h.Names, ";")
		}
		return out
	}
	b, y := "b", "y"
	for want, q := range map[string]Query{
		"user alice false [a b] [];user bob true [] [x];group dev true [] [];": {},
		"user alice false [b] [];user bob true [] [x];group dev true [] [];":   {Namespace: &b},
		"user alice false [a b] [];group dev true [] [];":                      {Name: &y},
	} {
		if got := ask(q); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
