package e2e

import (
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/isolation"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"proc-privileged", "a namespace has no Pod Security label, and nobody puts it back", unlabelled},
		sabotage{"proc-privileged", "nothing holds pods to their class", removed("validatingadmissionpolicybinding", isolation.PolicyName)},
		sabotage{"proc-privileged", "everybody may use class privileged", givenToAll("clusterrolebinding")},
		sabotage{"proc-privileged", "everybody may use class privileged in one namespace", givenToAll("rolebinding", "--namespace=default")},
	)
}

// unlabelled takes the label off a namespace while the controller that puts it back stands still.
func unlabelled(t *testing.T, target *claim.Target) {
	frozen("control-plane-0", "baseline-controller")(t, target)
	ashlar(t, "kubectl", "--", "label", "namespace", "default", "pod-security.kubernetes.io/enforce-", "pod-security.kubernetes.io/enforce-version-")
}

// removed deletes an object of the baseline that refuses pods; `up` mends it, and what it made takes effect a moment later.
func removed(kind, name string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		t.Cleanup(func() {
			ashlar(t, "up")
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				out, _ := try("-f", file, "kubectl", "--", "run", "sabotage", "--image=none", "--dry-run=server")
				if strings.Contains(out, isolation.PolicyName) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("a pod that says nothing, half a minute after up: %s", out)
				}
			}
		})
		ashlar(t, "kubectl", "--", "delete", kind, name)
	}
}

// givenToAll lets everybody who has a name use class privileged.
func givenToAll(kind string, more ...string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		t.Cleanup(func() { ashlar(t, append([]string{"kubectl", "--", "delete", kind, "sabotage"}, more...)...) })
		ashlar(t, append([]string{"kubectl", "--", "create", kind, "sabotage", "--clusterrole=" + isolation.RoleName(isolation.Privileged),
			"--group=system:authenticated"}, more...)...)
	}
}
