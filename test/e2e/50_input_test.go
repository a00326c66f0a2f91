package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadInput: what cannot be right is refused, with its place, before anything is touched.
func TestBadInput(t *testing.T) {
	const scratch = "e2e-never"
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":   {"spec:", "spec:\n  colour: red", "colour"},
		"two of etcd":   {"  pools:", "  pools:\n  - {name: etcd, role: etcd, count: 2}", "count"},
		"wrong type":    {"count: 2}", "count: two}", "count"},
		"two providers": {"{local: {}}", "{local: {}, aws: {}}", "provider"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(clusterFile(scratch), c.old, c.new, 1)
			path := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			out, code := try("up", "-f", path)
			if code != 64 {
				t.Errorf("exit %d, want 64", code)
			}
			if !strings.Contains(out, path+":") || !strings.Contains(out, c.want) || strings.Contains(out, "goroutine ") {
				t.Errorf("it says:\n%s", out)
			}
			for _, left := range []string{"/var/lib/ashlar/clusters/" + scratch, "/run/ashlar/" + scratch, "/run/netns/ashlar-" + scratch + "-fabric"} {
				if _, err := os.Lstat(left); err == nil {
					t.Errorf("%s was made", left)
				}
			}
		})
	}
	t.Run("unknown flag", func(t *testing.T) {
		if out, code := try("up", "--no-such-flag"); code != 64 {
			t.Errorf("exit %d, want 64\n%s", code, out)
		}
	})
}
