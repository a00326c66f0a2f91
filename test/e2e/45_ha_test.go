package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
)

// TestHA brings examples/ha.yaml up, replaces all of its CAs and keys under load, and takes one machine of each role away
// at once: the API goes on, what restarts meanwhile comes back, `up` repairs the rest, and every claim holds.
func TestHA(t *testing.T) {
	upHA(t)
	t.Run("every claim", holdAll)
	t.Run("rotation", func(t *testing.T) { rotateUnderLoad(t, "all", "--settle=30s") })

	provider := open(t).Provider

	for _, machine := range []string{"etcd-0", "vault-0", "control-plane-0", "worker-0"} {
		if err := provider.PowerOff(t.Context(), machine); err != nil {
			t.Fatal(err)
		}
	}
	apiServes(t)
	t.Run("an API server restarts without them", func(t *testing.T) {
		before := unitsOf(t, "control-plane-1")["kube-apiserver"]
		ashlar(t, "exec", "control-plane-1", "--", "kill", "-9", fmt.Sprint(before))
		eventually(t, 30*time.Second, func() error {
			if now := unitsOf(t, "control-plane-1")["kube-apiserver"]; now == before || now == 0 {
				return errorString("it is not back")
			}
			return nil
		})
		apiServes(t)
	})
	if plan, code := try("-f", file, "plan"); code != 2 || strings.Count(plan, "powered off") < 4 {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	ashlar(t, "up")
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("after up, plan: exit %d\n%s", code, plan)
	}
	t.Run("every claim, again", holdAll)
}

// upHA brings examples/ha.yaml up and makes it the file's; after the test the shared cluster is back.
func upHA(t *testing.T) {
	t.Helper()
	// Eighteen machines are more than two cores can carry: those of the shared cluster rest meanwhile.
	resting := open(t)
	for _, m := range resting.Spec.Machines() {
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
	example, err := os.ReadFile("../../examples/ha.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ha.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(example), "name: ha\n", "name: "+name+"-ha\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "down") })
	ashlar(t, "up")
}

// apiServes waits until the API takes requests; without its Vault it may say that it is not quite ready.
func apiServes(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if out, code := try("-f", file, "kubectl", "--", "get", "secrets", "--all-namespaces"); code != 0 {
			return errorString(out)
		}
		return nil
	})
}

func holdAll(t *testing.T) {
	t.Helper()
	results, err := claim.Verify(t.Context(), target(t), claim.All(), func(claim.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Verdict.Good() {
			t.Errorf("%s is %s: %s", r.ID, r.Verdict, r.Reason)
		}
	}
}
