package claim

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"ashlar.dev/ashlar/internal/escape"
)

// TestContained: each thing that a pod can have that it should not breaks the claim, by itself.
func TestContained(t *testing.T) {
	users := &unstructured.Unstructured{}
	users.SetName("ashlar-pod-users")
	good := func() Inside {
		return Inside{Escapes: []escape.Tried{{Attempt: "mount", Answer: "operation not permitted"}}, Users: "0 1601437696 65536",
			Status: "Name:\tashlar\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"}
	}
	for name, c := range map[string]struct {
		change   func(*Inside)
		baseline []*unstructured.Unstructured
		want     string // what was allowed; none if empty
	}{
		"contained":                  {func(*Inside) {}, []*unstructured.Unstructured{users}, ""},
		"it got out":                 {func(i *Inside) { i.Escapes[0].Allowed = true }, nil, "mount"},
		"no filter":                  {func(i *Inside) { i.Status = strings.Replace(i.Status, "Seccomp:\t2", "Seccomp:\t0", 1) }, nil, "without a filter"},
		"new privileges":             {func(i *Inside) { i.Status = strings.Replace(i.Status, "NoNewPrivs:\t1", "NoNewPrivs:\t0", 1) }, nil, "set-user-ID"},
		"nothing known of it":        {func(i *Inside) { i.Status = "" }, nil, "without a filter"},
		"a token":                    {func(i *Inside) { i.Tokens = []string{"token"} }, nil, "token"},
		"the machine's users":        {func(i *Inside) { i.Users = "0 0 4294967295" }, []*unstructured.Unstructured{users}, "user of the machine"},
		"which no kernel can change": {func(i *Inside) { i.Users = "0 0 4294967295" }, nil, ""},
	} {
		in := good()
		c.change(&in)
		s := &isolation{Target: &Target{Baseline: c.baseline}}
		verdict, reason := Decide(s.contained(in, &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{}}}), nil)
		if (verdict == Holds) != (c.want == "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %s: %s", name, verdict, reason)
		}
	}
}
