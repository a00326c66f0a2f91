package oracle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// matcher is what an API server makes of the conditions of the first authorizer, which denies what was revoked.
func matcher(t testing.TB, revoked ...unit.Revocation) *authorizationcel.CELMatcher {
	t.Helper()
	_, authz := rendered(t, v1alpha1.Authentication{}, v1alpha1.ModeRBAC, revoked...)
	c, err := load.LoadFromData([]byte(authz))
	if err != nil {
		t.Fatal(err)
	}
	compiler := authorizationcel.NewDefaultCompiler()
	for _, e := range validation.ValidateAuthorizationConfiguration(compiler, nil, c, sets.New("Node", "RBAC", "Webhook"), sets.New("Webhook")) {
		if !strings.Contains(e.Field, "kubeConfigFile") { // it is on machines
			t.Fatal(e)
		}
	}
	m, errs := validation.ValidateAndCompileMatchConditions(compiler, c.Authorizers[0].Webhook.MatchConditions)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return m
}

func digests(n int) []unit.Revocation {
	var out []unit.Revocation
	for i := range n {
		out = append(out, unit.Revocation{CA: unit.CAKubernetes, SHA256: fmt.Sprintf("%064x", i), At: time.Unix(0, 0), Until: time.Unix(1, 0)})
	}
	return out
}

func review(user string, credentials ...string) *authorizationv1.SubjectAccessReview {
	r := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: []string{"system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}}}
	if credentials != nil {
		r.Spec.Extra = map[string]authorizationv1.ExtraValue{"authentication.kubernetes.io/credential-id": credentials, "other": {"x"}}
	}
	return r
}

// An API server asks about what was revoked and about nothing else; a condition that ended in an error would refuse everybody.
func TestRevokedConditions(t *testing.T) {
	const quoted = `o'"\hara`
	user := unit.Revocation{User: "provider:" + quoted}
	for what, c := range map[string]struct {
		revoked []unit.Revocation
		matches map[*authorizationv1.SubjectAccessReview]bool
	}{
		"certificates": {digests(3), map[*authorizationv1.SubjectAccessReview]bool{
			review("a", fmt.Sprintf("X509SHA256=%064x", 2)): true, review("a", fmt.Sprintf("X509SHA256=%064x", 3)): false,
			review("a", "JTI=x", fmt.Sprintf("X509SHA256=%064x", 0)): true, review("a"): false, review(""): false, review("a", []string{}...): false}},
		"a user": {[]unit.Revocation{user}, map[*authorizationv1.SubjectAccessReview]bool{
			review(user.User): true, review(user.User, "JTI=x"): true, review(quoted): false, review(""): false}},
		"both": {append(digests(1), user), map[*authorizationv1.SubjectAccessReview]bool{
			review(user.User): true, review("a", fmt.Sprintf("X509SHA256=%064x", 0)): true, review("a"): false}},
		"as many as are named": {digests(1000), map[*authorizationv1.SubjectAccessReview]bool{
			review("a", fmt.Sprintf("X509SHA256=%064x", 999)): true, review("a", fmt.Sprintf("X509SHA256=%064x", 1000)): false}},
		"more, which the webhook knows": {digests(5000), map[*authorizationv1.SubjectAccessReview]bool{
			review("a", fmt.Sprintf("X509SHA256=%064x", 4999)): true, review("a"): false}},
	} {
		m := matcher(t, c.revoked...)
		for r, want := range c.matches {
			if got, err := m.Eval(t.Context(), r); err != nil || got != want {
				t.Errorf("%s: %q by %v: asked %t (%v), want %t", what, r.Spec.User, r.Spec.Extra, got, err, want)
			}
		}
	}
}

// BenchmarkRevokedConditions is what the look costs a request of somebody who was not revoked.
func BenchmarkRevokedConditions(b *testing.B) {
	r := review("system:node:worker-0", fmt.Sprintf("X509SHA256=%064x", 1<<40))
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := matcher(b, digests(n)...)
			for b.Loop() {
				if asked, err := m.Eval(b.Context(), r); err != nil || asked {
					b.Fatal(asked, err)
				}
			}
		})
	}
}
