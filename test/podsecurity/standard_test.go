// Package podsecurity holds internal/isolation against Kubernetes' own Pod Security Admission: its checks, its fixtures, and
// a real API server.
package podsecurity

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/policy"

	"ashlar.dev/ashlar/internal/standard"
)

// withoutUsers is baseline's bound of /proc: the API itself refuses what breaks it.
const withoutUsers = "procMount"

// broken are the checks that a pod fails, in their newest version.
func broken(pod *corev1.Pod) []string {
	var out []string
	for _, c := range policy.DefaultChecks() {
		if newest := c.Versions[len(c.Versions)-1]; !newest.CheckPod(&pod.ObjectMeta, &pod.Spec).Allowed {
			out = append(out, string(c.ID))
		}
	}
	slices.Sort(out)
	return out
}

// TestControls: we know of every check that there is, and of its level.
func TestControls(t *testing.T) {
	theirs := map[string]string{}
	for _, c := range policy.DefaultChecks() {
		theirs[string(c.ID)] = string(c.Level)
	}
	delete(theirs, withoutUsers)
	for _, c := range standard.Controls {
		if theirs[c.Check] != c.Level {
			t.Errorf("%s (%s) is of level %q to Pod Security Admission, of %q to us", c.Name, c.Check, theirs[c.Check], c.Level)
		}
		delete(theirs, c.Check)
		if len(standard.For(c)) == 0 {
			t.Errorf("no fixture is about %s of %s", c.Name, c.Level)
		}
	}
	if len(theirs) > 0 {
		t.Errorf("we do not know of these checks: %v", theirs)
	}
}

// TestFixtures: each breaks what it says, at every place, and nothing else.
func TestFixtures(t *testing.T) {
	if b := broken(standard.Keeps()); len(b) > 0 {
		t.Errorf("the pod that keeps everything breaks %v", b)
	}
	names := map[string]bool{}
	for _, f := range standard.Fixtures {
		if names[f.Name] {
			t.Errorf("two fixtures are called %q", f.Name)
		}
		names[f.Name] = true
		var want []string
		for _, c := range f.Breaks {
			want = append(want, c.Check)
		}
		slices.Sort(want)
		for _, at := range f.Places() {
			if got := broken(f.Pod(at)); !slices.Equal(got, want) {
				t.Errorf("%s in %s breaks %v, not %v", f.Name, at, got, want)
			}
		}
	}
}
