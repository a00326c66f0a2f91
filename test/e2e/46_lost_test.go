package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/claim"
)

// TestLostMembers takes a machine of etcd and one of Vault away for good, disk and all, from a cluster with three of each: `up`
// makes them anew, and they are members again. Two of three are too many.
func TestLostMembers(t *testing.T) {
	resting := open(t)
	for _, m := range resting.Spec.Machines() { // two cores carry no more
		if err := resting.Provider.PowerOff(t.Context(), m.Name); err != nil {
			t.Fatal(err)
		}
	}
	shared := file
	t.Cleanup(func() {
		file = shared
		ashlar(t, "up")
		settled(t)
	})
	file = filepath.Join(t.TempDir(), "cluster.yaml")
	three := strings.Replace(clusterFile(name+"-three"), "count: 2}", "count: 1}\n  - {name: vault, role: vault, count: 3}\n  - {name: etcd, role: etcd, count: 3}", 1)
	if err := os.WriteFile(file, []byte(three), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "down") })
	ashlar(t, "up")
	kubectl(t, "create", "configmap", "before", "--from-literal=said=here")
	backup, key := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "key")
	ashlar(t, "backup", backup, "--identity", key)
	provider := open(t).Provider
	remove := func(machine string) {
		t.Helper()
		if err := provider.Delete(t.Context(), machine); err != nil {
			t.Fatal(err)
		}
	}

	// The first of each, where one would look for the others.
	remove("vault-0")
	remove("etcd-0")
	if plan, code := try("-f", file, "plan"); code != 2 || strings.Count(plan, "does not exist") != 2 {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	ashlar(t, "up")
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("after up, plan: exit %d\n%s", code, plan)
	}
	// It holds what the others do, and is counted: with it, another may go.
	if err := provider.PowerOff(t.Context(), "etcd-1"); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, "get", "configmap", "before", "-o", "jsonpath={.data.said}"); got != "here" {
		t.Errorf("the ConfigMap says %q", got)
	}
	kubectl(t, "create", "configmap", "after")
	ashlar(t, "up")
	for _, c := range claim.All() {
		// Not pki-vault-only: what vault-0 issued was in its own log, and that is gone.
		if c.ID == "pki-three-cas" || c.ID == "pki-short-lived" || c.ID == "vault-closed" {
			if r := verify(t, c); r.Verdict != claim.Holds {
				t.Errorf("%s: %s", r.ID, r.Reason)
			}
		}
	}

	remove("etcd-1")
	remove("etcd-2")
	if out, code := try("-f", file, "up"); code != 1 || !strings.Contains(out, "ashlar restore") {
		t.Errorf("up without a majority: exit %d\n%s", code, out)
	}
	// What no majority is left of, a backup has.
	for _, m := range []string{"vault-0", "vault-1", "vault-2"} {
		remove(m)
	}
	ashlar(t, "restore", backup, "--identity", key, "--replace")
	settled(t)
	if got := kubectl(t, "get", "configmap", "before", "-o", "jsonpath={.data.said}"); got != "here" {
		t.Errorf("restored, the ConfigMap says %q", got)
	}
	if r := verify(t, find(t, "pki-vault-only")); r.Verdict != claim.Holds {
		t.Error(r.Reason)
	}
}
