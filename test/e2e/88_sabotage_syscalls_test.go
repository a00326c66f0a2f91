package e2e

import (
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"proc-seccomp", "kubelets leave pods unconfined that say nothing", editUnit(v1alpha1.RoleWorker, "kubelet",
			`sed -i 's/^seccompDefault: true$/seccompDefault: false/' /etc/kubernetes/kubelet.yaml`, kubeletsAnswer)},
		sabotage{"proc-seccomp", "nobody gives pods users of their own", silenced("ashlar-pod-users",
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"seccompProfile":{"type":"RuntimeDefault"}},`+
				`"containers":[{"name":"x","image":"x","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`, "{.spec.hostUsers}")},
		sabotage{"proc-seccomp", "ServiceAccounts give their token to all", silenced("ashlar-account-tokens",
			`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"x"}}`, "{.automountServiceAccountToken}")},
	)
}

// kubeletsAnswer waits until the kubelet of each worker is well.
func kubeletsAnswer(t *testing.T) {
	t.Helper()
	for _, worker := range []string{"worker-0", "worker-1"} {
		ashlar(t, "exec", worker, "--", "bash", "-c", `for i in {1..300}; do (echo > /dev/tcp/127.0.0.1/10248) 2>/dev/null && exit 0; sleep 0.1; done; exit 1`)
	}
}

// silenced unbinds a policy that adds to what says nothing, until an object of the kind is left as it is.
func silenced(policy, object, field string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		stored := func() string {
			out, _ := tryWith(object, "-f", file, "kubectl", "--", "create", "--dry-run=server", "-o", "jsonpath="+field, "-f", "-")
			return out
		}
		t.Cleanup(func() {
			ashlar(t, "up")
			eventually(t, 20*time.Second, func() error {
				if got := stored(); got != "false" {
					return errorString("what says nothing still has " + got)
				}
				return nil
			})
		})
		kubectl(t, "delete", "mutatingadmissionpolicybinding", policy)
		eventually(t, 20*time.Second, func() error {
			if got := stored(); got != "" {
				return errorString("what says nothing still has " + got)
			}
			return nil
		})
	}
}
