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
		"unknown key":                 {"spec:", "spec:\n  colour: red", "colour"},
		"two of etcd":                 {"  pools:", "  pools:\n  - {name: etcd, role: etcd, count: 2}", "count"},
		"wrong type":                  {"count: 2}", "count: two}", "count"},
		"two providers":               {"{local: {}}", "{local: {}, aws: {}}", "provider"},
		"duplicate key":               {"spec:", "spec:\n  provider: {local: {}}", "provider"},
		"overlapping ranges":          {"  pools:", "  network: {podCIDR: 10.0.0.0/16, serviceCIDR: 10.0.128.0/20}\n  pools:", "serviceCIDR"},
		"a name that is no label":     {"metadata: {name: ", "metadata: {name: Not_A-", "name"},
		"a leaf that outlives its CA": {"  pools:", "  pki: {leafTTL: 48h, caTTL: 24h}\n  pools:", "leafTTL"},
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
	t.Run("a version that the bundle lacks", func(t *testing.T) {
		refused(t, strings.Replace(clusterFile(scratch), "spec:", "spec:\n  kubernetesVersion: v1.36.0", 1), "spec.kubernetesVersion")
		if _, err := os.Lstat("/var/lib/ashlar/clusters/" + scratch); err == nil {
			t.Error("something was made")
		}
	})
	t.Run("another cluster of that name", func(t *testing.T) {
		refused(t, strings.Replace(clusterFile(name), "spec:", "spec:\n  network: {podCIDR: 10.99.0.0/16}", 1), "another identity")
		if plan, code := try("-f", file, "plan"); code != 0 {
			t.Errorf("the cluster differs now:\n%s", plan)
		}
	})
	t.Run("unknown flag", func(t *testing.T) {
		if out, code := try("up", "--no-such-flag"); code != 64 {
			t.Errorf("exit %d, want 64\n%s", code, out)
		}
	})
}

// refused has up, plan and verify refuse a file.
func refused(t *testing.T, content, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "refused.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"plan", "up"} {
		if out, code := try(command, "-f", path); code != 64 || !strings.Contains(out, want) || strings.Contains(out, "goroutine ") {
			t.Errorf("%s: exit %d, want 64 and %q\n%s", command, code, want, out)
		}
	}
}
