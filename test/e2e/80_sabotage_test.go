package e2e

import (
	"testing"

	"ashlar.dev/ashlar/internal/claim"
)

// sabotage breaks one promise of the shared cluster, so that the claim's probe must notice.
type sabotage struct {
	claim string
	name  string
	// do breaks it, and registers with t.Cleanup what mends it again.
	do func(t *testing.T, target *claim.Target)
}

// sabotages are those of all claims, from the files of this package.
var sabotages []sabotage

// TestSabotage proves that probes can fail: each claim holds, is broken by every sabotage of it, and holds again.
func TestSabotage(t *testing.T) {
	sabotaged := map[string]bool{}
	caught := 0
	for _, s := range sabotages {
		sabotaged[s.claim] = true
		c := find(t, s.claim)
		t.Run(s.claim+"/"+s.name, func(t *testing.T) {
			t.Run("sabotage", func(t *testing.T) { // its clean-up mends
				s.do(t, target(t))
				r := verify(t, c)
				if r.Verdict != claim.Broken {
					t.Fatalf("%s is %s although it was sabotaged: %s %s", s.claim, r.Verdict, s.name, r.Reason)
				}
				t.Logf("caught: %s", r.Reason)
				caught++
			})
			if r := verify(t, c); r.Verdict != claim.Holds {
				t.Errorf("%s does not hold after the sabotage was mended: %s", s.claim, r.Reason)
			}
		})
	}
	t.Logf("caught/made: %d/%d", caught, len(sabotages))
	for _, c := range claim.All() {
		if elsewhere := c.ID == "proc-selinux"; !sabotaged[c.ID] && !elsewhere { // by test/selinux, on a kernel that has it
			t.Errorf("claim %s has no sabotage: nothing shows that its probe can fail", c.ID)
		}
	}
}

func find(t *testing.T, id string) claim.Claim {
	t.Helper()
	for _, c := range claim.All() {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("there is no claim %s", id)
	return claim.Claim{}
}

// verify tries one claim with credentials of its own.
func verify(t *testing.T, c claim.Claim) claim.Result {
	t.Helper()
	results, err := claim.Verify(t.Context(), target(t), []claim.Claim{c}, func(claim.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}
