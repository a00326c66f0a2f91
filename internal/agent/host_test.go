package agent

import (
	"testing"
	"time"
)

func TestClockProblems(t *testing.T) {
	for skew, problem := range map[time.Duration]string{
		0: "", 20 * time.Second: "", -20 * time.Second: "",
		45 * time.Second: "the clock is 45s ahead of Vault's: certificates may be refused; set it",
		-2 * time.Minute: "the clock is 2m0s behind Vault's: certificates may be refused; set it",
	} {
		got := clockProblems(skew)
		if (problem == "") != (len(got) == 0) || len(got) > 0 && got[0] != problem {
			t.Errorf("skew %s: %q, want %q", skew, got, problem)
		}
	}
}
