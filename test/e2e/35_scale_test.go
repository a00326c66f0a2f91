package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestScale gives the shared cluster a third worker and takes it away again: nothing knows it any more.
func TestScale(t *testing.T) {
	const gone = "worker-2"
	declare(t, "count: 2}", "count: 3}")
	t.Cleanup(func() {
		declare(t, "count: 3}", "count: 2}")
		ashlar(t, "up")
	})
	if plan, code := try("-f", file, "plan"); code != 2 || !strings.Contains(plan, gone) {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	ashlar(t, "up")
	if out := kubectl(t, "get", "nodes", "-o", "name"); !strings.Contains(out, gone) {
		t.Errorf("after up there are only\n%s", out)
	}
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("the machines of before differ now:\n%s", plan)
	}

	declare(t, "count: 3}", "count: 2}")
	if plan, code := try("-f", file, "plan"); code != 2 || !strings.Contains(plan, "no pool declares this machine any more") {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	ashlar(t, "up")
	if out := kubectl(t, "get", "nodes", "-o", "name"); strings.Contains(out, gone) {
		t.Errorf("Kubernetes still has\n%s", out)
	}
	target := target(t)
	if machines, err := target.Provider.List(t.Context()); err != nil || len(machines) != 8 {
		t.Errorf("machines: %v, %v", machines, err)
	}
	if _, err := target.Vault.IssueInitToken(t.Context(), gone, time.Minute); err == nil {
		t.Error("Vault still has a login for the machine")
	}
	// Calico's controllers free its addresses in their own time.
	eventually(t, time.Minute, func() error {
		if left := overlay(t, target, "get", "--prefix", "--keys-only", "/calico/"); strings.Contains(left, gone) {
			return errors.New("the overlay still has\n" + left)
		}
		return nil
	})
}

// declare changes the shared cluster's file.
func declare(t *testing.T, old, now string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
