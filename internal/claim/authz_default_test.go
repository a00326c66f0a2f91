package claim

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// forAll is what Kubernetes' own roles give everybody, as the server lists it.
func forAll() authorizationv1.SubjectRulesReviewStatus {
	return authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{
			{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}},
			{Verbs: []string{"create"}, APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"selfsubjectreviews"}},
			{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"clustertrustbundles"}},
		},
		NonResourceRules: []authorizationv1.NonResourceRule{
			{Verbs: []string{"get"}, NonResourceURLs: []string{"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"}},
			{Verbs: []string{"get"}, NonResourceURLs: []string{"/.well-known/openid-configuration", "/openid/v1/jwks"}},
		},
	}
}

func TestBeyondDiscovery(t *testing.T) {
	resource := func(verb, group, resource string) func(*authorizationv1.SubjectRulesReviewStatus) {
		return func(s *authorizationv1.SubjectRulesReviewStatus) {
			s.ResourceRules = append(s.ResourceRules, authorizationv1.ResourceRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}})
		}
	}
	path := func(path string, verbs ...string) func(*authorizationv1.SubjectRulesReviewStatus) {
		return func(s *authorizationv1.SubjectRulesReviewStatus) {
			s.NonResourceRules = append(s.NonResourceRules, authorizationv1.NonResourceRule{Verbs: verbs, NonResourceURLs: []string{path}})
		}
	}
	for _, c := range []struct {
		name string
		add  func(*authorizationv1.SubjectRulesReviewStatus)
		want []string
	}{
		{"nothing", func(*authorizationv1.SubjectRulesReviewStatus) {}, nil},
		{"pods", resource("list", "", "pods"), []string{"list pods"}},
		{"everything", resource("*", "*", "*"), []string{"* *.*"}},
		{"another verb of a review", resource("delete", "authorization.k8s.io", "selfsubjectaccessreviews"), []string{"delete selfsubjectaccessreviews.authorization.k8s.io"}},
		{"every verb of a review", resource("*", "authorization.k8s.io", "selfsubjectaccessreviews"), []string{"* selfsubjectaccessreviews.authorization.k8s.io"}},
		{"a review of others", resource("create", "authorization.k8s.io", "subjectaccessreviews"), []string{"create subjectaccessreviews.authorization.k8s.io"}},
		{"a review of another group", resource("create", "", "selfsubjectreviews"), []string{"create selfsubjectreviews"}},
		{"a review of a group that begins alike", resource("create", "authorization.k8s.io.example", "selfsubjectaccessreviews"), []string{"create selfsubjectaccessreviews.authorization.k8s.io.example"}},
		{"below a review", resource("create", "authentication.k8s.io", "selfsubjectreviews/x"), []string{"create selfsubjectreviews/x.authentication.k8s.io"}},
		{"metrics", path("/metrics", "get"), []string{"get /metrics"}},
		{"every path", path("*", "get"), []string{"get *"}},
		{"writing to an open path", path("/api", "post"), []string{"post /api"}},
		{"reading and writing an open path", path("/api", "get", "post"), []string{"get,post /api"}},
		{"every verb on an open path", path("/api", "*"), []string{"* /api"}},
		{"below an open path", path("/version/*", "get"), []string{"get /version/*"}},
		{"not all that there is", func(s *authorizationv1.SubjectRulesReviewStatus) { s.Incomplete, s.EvaluationError = true, "webhook" }, []string{"the list is incomplete: webhook"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := forAll()
			c.add(&s)
			if diff := cmp.Diff(c.want, beyondDiscovery(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBeyondDiscoveryProperty: of rules drawn from allowed and other ones, the others are found, and each of them.
func TestBeyondDiscoveryProperty(t *testing.T) {
	verbs, groups, resources := []string{"create", "get", "*"}, []string{"authorization.k8s.io", "", "apps"}, []string{"selfsubjectaccessreviews", "pods"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(from []string, name string) []string {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, len(from), rapid.ID[string]).Draw(t, name)
		}
		var s authorizationv1.SubjectRulesReviewStatus
		want := 0
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := authorizationv1.ResourceRule{Verbs: draw(verbs, "verbs"), APIGroups: draw(groups, "groups"), Resources: draw(resources, "resources")}
			s.ResourceRules = append(s.ResourceRules, r)
			want += len(r.Verbs) * len(r.APIGroups) * len(r.Resources)
			if slices.Contains(r.Verbs, "create") && slices.Contains(r.APIGroups, "authorization.k8s.io") && slices.Contains(r.Resources, "selfsubjectaccessreviews") {
				want--
			}
		}
		if got := beyondDiscovery(s); len(got) != want {
			t.Fatalf("found %q, want %d", got, want)
		}
	})
}

func TestSubjects(t *testing.T) {
	got := subjects([]string{"default", "kube-system"})
	want := []everybody{
		{"any visitor with a name", "ashlar:nobody", []string{"system:authenticated"}},
		{"anonymous", "system:anonymous", []string{"system:unauthenticated"}},
		{"the default ServiceAccount of default", "system:serviceaccount:default:default",
			[]string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}},
		{"the default ServiceAccount of kube-system", "system:serviceaccount:kube-system:default",
			[]string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(everybody{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEveryAccess: every verb of every discovered resource is asked for once, and what discovery does not list as well.
func TestEveryAccess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z]{1,3}(/[a-z]{1,2})?`)
		versions := rapid.SliceOfN(rapid.SampledFrom([]string{"v1", "apps/v1", "apps/v1beta1"}), 0, 5).Draw(t, "versions")
		type kind struct{ group, version, resource, sub string }
		want := map[kind]bool{}
		var lists []*metav1.APIResourceList
		for _, v := range versions {
			l := &metav1.APIResourceList{GroupVersion: v}
			for _, n := range rapid.SliceOfN(name, 0, 5).Draw(t, "resources") {
				l.APIResources = append(l.APIResources, metav1.APIResource{Name: n, Verbs: metav1.Verbs{"get"}})
				k := kind{version: v}
				if group, version, found := strings.Cut(v, "/"); found {
					k.group, k.version = group, version
				}
				k.resource, k.sub, _ = strings.Cut(n, "/")
				want[k] = true
			}
			lists = append(lists, l)
		}
		got := map[authorizationv1.ResourceAttributes]int{}
		for _, a := range everyAccess(lists) {
			got[a]++
		}
		const special = 6
		if len(got) != 8*len(want)+special {
			t.Fatalf("%d questions about %d resources", len(got), len(want))
		}
		for a, n := range got {
			if n != 1 {
				t.Fatalf("%+v is asked %d times", a, n)
			}
		}
		for k := range want {
			for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
				if got[authorizationv1.ResourceAttributes{Group: k.group, Version: k.version, Resource: k.resource, Subresource: k.sub, Verb: verb}] != 1 {
					t.Fatalf("nobody asks about %s of %+v", verb, k)
				}
			}
		}
		for _, a := range []authorizationv1.ResourceAttributes{{Verb: "impersonate", Resource: "users"}, {Verb: "*", Group: "*", Resource: "*"}} {
			if got[a] != 1 {
				t.Fatalf("nobody asks about %+v", a)
			}
		}
	})
}
