package phase

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/vault"
)

// TestNotLoggedIn: whoever has no session is told how to get one; only who has a password is asked for it.
func TestNotLoggedIn(t *testing.T) {
	c := &Cluster{Dir: t.TempDir(), Spec: &v1alpha1.Cluster{}}
	c.Spec.Spec.Authentication.Robots = []v1alpha1.Robot{{Name: "ci"}}
	for who, want := range map[string]struct {
		run      string
		password bool
	}{
		"alice":          {"ashlar login alice", true},
		"ci":             {"ashlar login ci --robot", false},
		"provider:alice": {"ashlar login --provider", false},
	} {
		for _, ended := range []bool{false, true} {
			if ended {
				if _, err := c.keep(who, vault.Login{Token: "x", TTL: -time.Second}); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := c.Identity(t.Context(), who)
			var none NotLoggedIn
			if !errors.As(err, &none) || none.ByPassword() != want.password || err.Error() != "not logged in as "+who+": run `"+want.run+"`" {
				t.Errorf("%s: %v", who, err)
			}
		}
	}
}

// TestSessionFile: what a provider calls people leads nowhere else.
func TestSessionFile(t *testing.T) {
	c := &Cluster{Dir: t.TempDir()}
	seen := map[string]string{}
	for _, who := range []string{"alice", "provider:alice", "provider:../alice", "provider:..", "provider:/etc/passwd", "provider:a@example.com", "provider:a|b", "provider:%2e"} {
		if _, err := c.keep(who, vault.Login{Token: "x", TTL: time.Hour}); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		f := c.sessionFile(who)
		if filepath.Dir(f) != filepath.Join(c.Dir, "sessions") || seen[f] != "" {
			t.Errorf("%s: %s, also of %q", who, f, seen[f])
		}
		seen[f] = who
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
}
