package claim

import (
	"slices"
	"strings"
	"testing"
)

// TestPathsAreOpenOrClosed: no path is expected to be both, and no path twice.
func TestPathsAreOpenOrClosed(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range slices.Concat(openPaths, closedPaths) {
		if seen[p] || !strings.HasPrefix(p, "/") {
			t.Errorf("%q is there twice, or is no path", p)
		}
		seen[p] = true
	}
	// What is open must be closed one step further: a server that compared beginnings would be found out.
	for _, p := range openPaths {
		if !slices.ContainsFunc(closedPaths, func(c string) bool { return strings.HasPrefix(c, p+"/") }) {
			t.Errorf("nothing below %s is tried", p)
		}
	}
}

func TestWorker(t *testing.T) {
	target := &Target{Desired: machines("etcd-0", "worker-0", "worker-1")}
	for n, want := range []string{"worker-0", "worker-1"} {
		if m, err := worker(target, n); err != nil || m.Name != want {
			t.Errorf("worker %d is %q, %v", n, m.Name, err)
		}
	}
	if m, err := worker(target, 2); err == nil || !strings.Contains(err.Error(), "needs 3 workers; the cluster has 2") {
		t.Errorf("worker 2 is %q, %v", m.Name, err)
	}
}
