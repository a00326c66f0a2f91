package authz

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (run with -update if that is right):\n%s", file, diff)
	}
}

// asked is a request of somebody's: "get pods/log web in shop", "list nodes", "get /metrics".
func asked(who, what string) Request {
	if namespace, name, ok := strings.Cut(who, "/"); ok {
		who = ServiceAccountUser(namespace, name)
	}
	s, _ := Principal{User: who}.least("")
	q := Request{User: s.User, Groups: s.Groups}
	what, q.Namespace, _ = strings.Cut(what, " in ")
	words := append(strings.Fields(what), "")
	q.Verb = words[0]
	if strings.HasPrefix(words[1], "/") {
		q.Path = words[1]
		return q
	}
	q.ResourceRequest, q.Name = true, words[2]
	resource, sub, _ := strings.Cut(words[1], "/")
	q.Resource, q.APIGroup, _ = strings.Cut(resource, ".")
	q.Subresource = sub
	return q
}

// observed is what ABAC allowed, a minute apart.
func observed(requests ...Request) []Observed {
	var out []Observed
	for i, q := range requests {
		out = append(out, Observed{Request: q, Allowed: true, Reason: ReasonABAC + "line 12, for somebody", Time: time.Unix(int64(60*i), 0).UTC()})
	}
	return out
}

func written(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, r := range rules {
		text := strings.Join(r.Verbs, ",") + " " + strings.Join(r.NonResourceURLs, ",")
		if len(r.NonResourceURLs) == 0 {
			text = fmt.Sprintf("%s %s of %s", strings.Join(r.Verbs, ","), strings.Join(r.Resources, ","), strings.Join(r.APIGroups, ","))
		}
		if len(r.ResourceNames) > 0 {
			text += " named " + strings.Join(r.ResourceNames, ",")
		}
		out = append(out, text)
	}
	return out
}

func TestGapRules(t *testing.T) {
	for name, c := range map[string]struct{ asked, want []string }{
		"verbs":           {[]string{"watch pods", "get pods", "list pods", "delete pods", "use pods"}, []string{"get,list,watch,delete,use pods of "}},
		"resources":       {[]string{"get pods", "get pods/log", "get services", "list services"}, []string{"get pods,pods/log of ", "get,list services of "}},
		"groups":          {[]string{"create events", "create events.events.k8s.io"}, []string{"create events of ,events.k8s.io"}},
		"other groups":    {[]string{"get pods", "get deployments.apps"}, []string{"get pods of ", "get deployments of apps"}},
		"names":           {[]string{"get secrets b", "get secrets a", "get secrets b"}, []string{"get secrets of  named a,b"}},
		"a name and none": {[]string{"get secrets a", "get secrets"}, []string{"get secrets of "}},
		"names of a verb": {[]string{"get leases.x a", "update leases.x a", "create leases.x"}, []string{"get,update leases of x named a", "create leases of x"}},
		"other names":     {[]string{"get secrets a", "delete secrets b"}, []string{"get secrets of  named a", "delete secrets of  named b"}},
		"five names":      {[]string{"get pods a", "get pods b", "get pods c", "get pods d", "get pods e"}, []string{"get pods of  named a,b,c,d,e"}},
		"six names":       {[]string{"get pods a", "get pods b", "get pods c", "get pods d", "get pods e", "get pods f"}, []string{"get pods of "}},
		"paths":           {[]string{"get /metrics", "get /a", "post /a"}, []string{"get,post /a", "get /metrics"}},
		"stars":           {[]string{"get pods", "* pods", "get *", "get */log", "get /*", "get pods/*", "get pods.*", "* /a", "get pods *"}, []string{"get pods of "}},
	} {
		var requests []Request
		for _, what := range c.asked {
			requests = append(requests, asked("shop/app", what))
		}
		gaps := Gaps(slices.Values(observed(requests...)), new(Policy))
		if len(gaps) != 1 || !slices.Equal(written(gaps[0].Rules), c.want) {
			t.Errorf("%s: %+v\nwant %q", name, gaps, c.want)
		}
	}
}

// Some gaps in all that they say, and the objects that fill them.
func TestGaps(t *testing.T) {
	current := &Policy{Grants: []Grant{grant(Principal{Group: "system:serviceaccounts:shop"}, "get", "pods", "shop")}}
	seen := observed(
		asked("shop/app", "get pods web in shop"), // allowed by now
		asked("shop/app", "get configmaps a in shop"),
		asked("shop/app", "get configmaps b in shop"),
		asked("shop/app", "get configmaps a in shop"),
		asked("shop/app", "list endpointslices.discovery.k8s.io in shop"),
		asked("shop/app", "watch endpointslices.discovery.k8s.io in shop"),
		asked("shop/app", "get configmaps a in billing"),
		asked("monitoring/scraper", "list pods"),
		asked("monitoring/scraper", "list pods in shop"), // comes with the one before
		asked("monitoring/scraper", "get secrets a in shop"),
		asked("monitoring/scraper", "get /debug/pprof"),
		asked("kube-system/operator", "create clusterrolebindings.rbac.authorization.k8s.io"),
		asked("kube-system/operator", "create pods/exec web in shop"),
		asked("kube-system/operator", "update configmaps a in shop"),
		asked("kube-system/operator", "get secrets in shop"),
		asked("CN=Zoë", "get nodes"),
		asked("a/x_y", "get nodes"),
		asked("system:kube-scheduler", "patch pods/status web in shop"),
	)
	seen = append(seen,
		Observed{Request: asked("shop/app", "delete nodes"), Reason: ReasonABAC + "nothing allows it"},
		Observed{Request: asked("shop/app", "delete nodes"), Allowed: true, Reason: "RBAC: allowed by " + ReasonABAC})
	gaps := Gaps(slices.Values(seen), current)
	var out strings.Builder
	for _, g := range gaps {
		fmt.Fprintf(&out, "%s %q in %q: %d, last %s, dangers %q\n  e.g. %s\n", g.Subject.Kind, g.Subject.Name, g.Namespace, g.Count, g.Last.Format(time.TimeOnly), g.Dangers, g.Example)
		for _, rule := range written(g.Rules) {
			fmt.Fprintf(&out, "  %s\n", rule)
		}
	}
	text, err := RBACFor(gaps).YAML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "gaps.txt", out.String())
	golden(t, "gaps.yaml", string(text))
}

// drawRequest is of few words, so that requests often differ in one of them only.
func drawRequest(t *rapid.T) Request {
	q := asked(rapid.SampledFrom([]string{"a/x", "a/y", "b/x", "alice", "a.x", "A/ü/ö"}).Draw(t, "who"), "get /")
	if rapid.IntRange(0, 4).Draw(t, "of paths") == 0 {
		q.Verb, q.Path = rapid.SampledFrom([]string{"get", "post", "*"}).Draw(t, "verb"), rapid.SampledFrom([]string{"/a", "/a/b", "/a*", "*"}).Draw(t, "path")
		return q
	}
	q.ResourceRequest, q.Path = true, ""
	q.Verb = rapid.SampledFrom([]string{"get", "list", "create", "*"}).Draw(t, "verb")
	q.APIGroup = rapid.SampledFrom([]string{"", "apps"}).Draw(t, "group")
	q.Resource = rapid.SampledFrom([]string{"pods", "secrets", "*"}).Draw(t, "resource")
	q.Subresource = rapid.SampledFrom([]string{"", "", "log", "*"}).Draw(t, "subresource")
	q.Namespace = rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "namespace")
	q.Name = rapid.SampledFrom([]string{"", "n0", "n1", "n2", "n3", "n4", "n5", "n6"}).Draw(t, "name")
	return q
}

// The roles for the gaps fill them, and nothing is left. What they allow besides was asked for another object, or for
// all namespaces.
func TestGapsAreFilled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		requests := rapid.SliceOfN(rapid.Custom(drawRequest), 0, 30).Draw(t, "requests")
		seen := observed(requests...)
		current := drawPolicy(t)
		gaps := Gaps(slices.Values(seen), current)
		text, err := RBACFor(gaps).YAML()
		if err != nil {
			t.Fatal(err)
		}
		objects, err := ReadRBAC(text, "gaps.yaml")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		added, err := objects.Policy()
		if err != nil || len(added.Warnings) > 0 {
			t.Fatal(err, added.Warnings)
		}
		after := &Policy{Grants: slices.Concat(current.Grants, added.Grants)}
		if left := Gaps(slices.Values(seen), after); len(left) > 0 {
			t.Fatalf("left %+v", left)
		}
		for _, q := range requests {
			if ok, why := Allowed(after, q); !ok && q.grantable() {
				t.Fatalf("%v: %s", q, why)
			}
		}
		for _, q := range append(everyRequest, rapid.SliceOfN(rapid.Custom(drawRequest), 10, 10).Draw(t, "others")...) {
			for _, who := range []string{"a/x", "a/y", "b/x", "alice", "a.x", "A/ü/ö"} {
				s := asked(who, "get /")
				q.User, q.Groups = s.User, s.Groups
				if ok, why := Allowed(added, q); ok && !slices.ContainsFunc(requests, func(o Request) bool { return like(q, o, requests) }) {
					t.Fatalf("%v was never asked, but %s", q, why)
				}
			}
		}
	})
}

// like says whether a request is what another was for, in one of its namespaces, and of its name unless many were asked.
func like(q, o Request, all []Request) bool {
	same := func(o Request) bool {
		return q.User == o.User && q.Verb == o.Verb && q.ResourceRequest == o.ResourceRequest && q.Path == o.Path &&
			q.APIGroup == o.APIGroup && q.Resource == o.Resource && q.Subresource == o.Subresource && (o.Namespace == q.Namespace || o.Namespace == "")
	}
	names := map[string]bool{}
	for _, o := range all {
		if same(o) {
			names[o.Name] = true
		}
	}
	return same(o) && (o.Name == q.Name || names[""] || len(names) > fewNames)
}

// In which order requests are made, and how often, makes no other role.
func TestGapsHaveNoOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		requests := rapid.SliceOfN(rapid.Custom(drawRequest), 1, 20).Draw(t, "requests")
		again := append(rapid.Permutation(requests).Draw(t, "again"), requests[0])
		a, b := Gaps(slices.Values(observed(requests...)), new(Policy)), Gaps(slices.Values(observed(again...)), new(Policy))
		for _, gaps := range [][]Gap{a, b} {
			for i := range gaps {
				gaps[i].Count, gaps[i].Last = 0, time.Time{}
			}
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
}

// No two subjects share a role.
func TestRoleNames(t *testing.T) {
	seen := map[string]rbacv1.Subject{}
	for _, user := range []string{"system:serviceaccount:a:b", "system:serviceaccount:user:b", "a.b", "b", "a:b", "user:b", "A.b", "a/b", "a%b", "ü",
		"system:serviceaccount:a.b:c", "system:serviceaccount:a:b.c", "system:serviceaccount:a:b/c", "system:serviceaccount:a:b:c", strings.Repeat("x", 201)} {
		g := Gap{Subject: rbacSubject(user)}
		name := g.roleName()
		if other, taken := seen[name]; taken {
			t.Errorf("%v and %v share %s", other, g.Subject, name)
		}
		if strings.ContainsAny(name, "/%") || !strings.HasPrefix(name, "ashlar-gap-") || len(name) > 250 {
			t.Errorf("%s of %v is no name", name, g.Subject)
		}
		seen[name] = g.Subject
	}
}

// Ten thousand requests that differ, each made ten times, under a large policy.
func BenchmarkGaps(b *testing.B) {
	var requests []Request
	for i := range 10_000 {
		requests = append(requests, asked(fmt.Sprintf("namespace-%d/app", i%100), fmt.Sprintf("get kind-%d object-%d in namespace-%d", i%30, i, i%100)))
	}
	seen, current := observed(slices.Repeat(requests, 10)...), large(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		if len(Gaps(slices.Values(seen), current)) == 0 {
			b.Fatal("found nothing")
		}
	}
}
