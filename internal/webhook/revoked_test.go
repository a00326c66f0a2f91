package webhook

import (
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"ashlar.dev/ashlar/internal/unit"
)

// What was revoked is refused until it would have ended; of all else there is no opinion.
func TestDeny(t *testing.T) {
	list := []unit.Revocation{
		{SHA256: "aa", At: noon.Add(-time.Hour), Until: noon.Add(time.Hour)},
		{SHA256: "bb", At: noon.Add(-time.Hour), Until: noon},
		{User: "alice", At: noon, Until: noon.Add(time.Minute)},
	}
	by := func(user string, credentials ...string) authorizationv1.SubjectAccessReviewSpec {
		return authorizationv1.SubjectAccessReviewSpec{User: user, Extra: map[string]authorizationv1.ExtraValue{extraCredential: credentials}}
	}
	for what, c := range map[string]struct {
		spec authorizationv1.SubjectAccessReviewSpec
		want bool
	}{
		"a revoked certificate":              {by("worker", "X509SHA256=aa"), true},
		"among others":                       {by("worker", "JTI=x", "X509SHA256=aa"), true},
		"one that has expired":               {by("worker", "X509SHA256=bb"), false},
		"another":                            {by("worker", "X509SHA256=cc"), false},
		"a token of the same digest":         {by("worker", "JTI=aa"), false},
		"a revoked user":                     {by("alice", "JTI=1"), true},
		"a revoked user without credentials": {authorizationv1.SubjectAccessReviewSpec{User: "alice"}, true},
		"somebody else":                      {by("bob"), false},
		"nobody":                             {by(""), false},
	} {
		if got := deny(c.spec, list, noon); got.Denied != c.want || got.Allowed || got.Denied != (got.Reason != "") {
			t.Errorf("%s: %+v, want denied %t", what, got, c.want)
		}
	}
}
