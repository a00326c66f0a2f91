package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDownLeavesNothing brings a second cluster up beside the shared one, with the same ranges, and takes it away again:
// the host is as it was, and the shared cluster did not notice.
func TestDownLeavesNothing(t *testing.T) {
	other := name + "-beside"
	scratch := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(scratch, []byte(clusterFile(other)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := host(t)
	if out, code := try("-f", scratch, "up"); code != 0 {
		t.Fatalf("up: exit %d\n%s", code, out)
	}
	if out, code := try("-f", scratch, "down"); code != 0 {
		t.Fatalf("down: exit %d\n%s", code, out)
	}
	after := host(t)
	for what := range before {
		if before[what] != after[what] {
			t.Errorf("%s before:\n%s\nafter:\n%s", what, before[what], after[what])
		}
	}
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("the shared cluster differs now:\n%s", plan)
	}
}

// host is what a cluster could leave behind.
func host(t *testing.T) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for what, command := range map[string]string{
		"network namespaces": "ls /run/netns",
		"links":              "ip -brief link | cut -d ' ' -f 1",
		"tables":             "nft list tables",
		"mounts":             "cut -d ' ' -f 2 /proc/mounts | sort",
		"cgroups":            "find /sys/fs/cgroup -maxdepth 4 -type d -path '*ashlar*' | sort",
		"files":              "ls /var/lib/ashlar/clusters /run/ashlar",
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "No such file") {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		seen[what] = string(out)
	}
	return seen
}
