package e2e

import (
	"strings"
	"testing"
)

// TestSecondUp: a cluster that is as its file says is left alone.
func TestSecondUp(t *testing.T) {
	if out := ashlar(t, "up"); !strings.Contains(out, "nothing to change") {
		t.Errorf("a second up says:\n%s", out)
	}
	if out := ashlar(t, "plan"); !strings.Contains(out, "nothing to change") {
		t.Errorf("plan says:\n%s", out)
	}
}
