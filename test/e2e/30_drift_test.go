package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/provider"
)

// TestDrift damages the shared cluster by hand; plan names each damage, up repairs it, and then nothing differs.
func TestDrift(t *testing.T) {
	for _, d := range []struct {
		name   string
		damage func(*testing.T)
		names  []string // what plan must say
	}{
		{"a unit's file edited", func(t *testing.T) {
			ashlar(t, "exec", "worker-0", "--", "sed", "-i", "s/readOnlyPort: 0/readOnlyPort: 10255/", "/etc/kubernetes/kubelet.yaml")
		}, []string{"worker-0/kubelet", "/etc/kubernetes/kubelet.yaml was edited"}},
		{"a binding deleted", func(t *testing.T) {
			kubectl(t, "delete", "clusterrolebinding", "system:coredns", "--ignore-not-found")
			kubectl(t, "delete", "networkpolicy", "--namespace=kube-system", "default-deny")
		}, []string{"default-deny", "baseline"}},
		{"the administrators' own binding deleted", func(t *testing.T) {
			kubectl(t, "delete", "clusterrolebinding", "ashlar:admins")
		}, []string{"administrators are bound to no role"}},
		{"a machine powered off", func(t *testing.T) {
			if err := open(t).Provider.PowerOff(t.Context(), "worker-1"); err != nil {
				t.Fatal(err)
			}
		}, []string{"worker-1", "powered off"}},
		{"Vault's machine powered off", func(t *testing.T) {
			if err := open(t).Provider.PowerOff(t.Context(), "vault-0"); err != nil {
				t.Fatal(err)
			}
		}, []string{"vault-0", "powered off"}},
		{"the network's rules flushed", func(t *testing.T) {
			err := open(t).RunInside(provider.FromOperator, func() error {
				return exec.CommandContext(t.Context(), "nft", "flush", "ruleset").Run()
			})
			if err != nil {
				t.Fatal(err)
			}
		}, []string{"machines", "network"}},
		{"a Vault policy edited", func(t *testing.T) {
			editVault(t, target(t), `path "secret/*" { capabilities = ["read"] }`, "policy", "write", "%-worker", "-")
		}, []string{"vault", "worker"}},
	} {
		t.Run(d.name, func(t *testing.T) {
			d.damage(t)
			plan, code := try("-f", file, "plan")
			if code != 2 {
				t.Errorf("plan exits with %d, want 2 (differs)\n%s", code, plan)
			}
			for _, name := range d.names {
				if !strings.Contains(plan, name) {
					t.Errorf("plan does not say %q:\n%s", name, plan)
				}
			}
			ashlar(t, "up")
			settled(t)
		})
	}
}

// settled waits until nothing differs, and those lead who will go on leading: Kubernetes notices by and by that the pods of
// a machine that was off have to start again, and that nobody renews a lease.
func settled(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if plan, code := try("-f", file, "plan"); code != 0 {
			return errorString(plan)
		}
		for _, lease := range []string{"kube-controller-manager", "kube-scheduler"} {
			out, code := try("-f", file, "kubectl", "--", "-n", "kube-system", "get", "lease", lease, "-o", "jsonpath={.spec.renewTime}")
			renewed, err := time.Parse(time.RFC3339, strings.TrimSpace(out))
			if code != 0 || err != nil || time.Since(renewed) > 10*time.Second {
				return fmt.Errorf("%s: nobody leads: %s", lease, out)
			}
		}
		return nil
	})
}
