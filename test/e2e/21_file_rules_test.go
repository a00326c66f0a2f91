package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fileRules are of every namespace, and of labels: they mean the pods of claims, too.
const fileRules = `  network:
    policy:
      rules:
        - {name: everybody, from: {namespace: "*"}, to: {namespace: "*"}, ports: [{port: 8080}]}
        - {name: api, from: {namespace: "*"}, to: {api: true}}
      metadata:
        - {namespace: "*", podLabels: {file-rules: controller}}
        - {namespaceLabels: {file-rules: cloud}}
`

// TestFileRules: the claims about isolation hold where the file opens something to all, and expect just that.
func TestFileRules(t *testing.T) {
	changed := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(changed, []byte(clusterFile(name)+fileRules), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "up") })
	up(t, changed)
	out, code := try("-f", changed, "verify", "--claim", "net-default,net-metadata,net-policy", "--evidence")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	for _, seen := range []string{"pod declared-0-", "pod beside-0-", "pod declared-1-"} {
		if !strings.Contains(out, seen) {
			t.Errorf("nothing was tried from %s…", seen)
		}
	}
}
