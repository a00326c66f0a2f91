package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/authz"
)

const (
	readers = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers}]
`
	line = `{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "developers", "namespace": "*", "resource": "*", "apiGroup": "*", "readonly": true}}
`
)

// policyFile writes a policy to be named on the command line.
func policyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuthzDiff(t *testing.T) {
	rbac, abac := policyFile(t, readers), policyFile(t, line)
	more := policyFile(t, strings.Replace(readers, "resources: [pods]", "resources: [pods, secrets]", 1))
	for name, c := range map[string]struct {
		a, b string
		code int
		says []string
	}{
		"the same":         {rbac, rbac, ExitDone, []string{"0 widened, 0 narrowed, 1 equal"}},
		"a resource more":  {rbac, more, ExitDiffers, []string{"widened   group developers   get,list   secrets of core", "secrets", "1 widened, 0 narrowed"}},
		"one less":         {more, rbac, ExitDone, []string{"narrowed   group developers   get,list   secrets of core", "0 widened, 1 narrowed"}},
		"ABAC to RBAC":     {abac, rbac, ExitDone, []string{"narrowed", "exec"}},
		"and back":         {rbac, abac, ExitDiffers, []string{"widened", "exec"}},
		"no such file":     {rbac, "no-such-file", ExitInput, []string{"no-such-file"}},
		"not a policy":     {rbac, policyFile(t, "kind: Pod\napiVersion: v1\n"), ExitInput, []string{":1:"}},
		"a misspelt field": {rbac, policyFile(t, strings.Replace(readers, "verbs", "verb", 1)), ExitInput, []string{":5:", "verb"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := run("authz", "diff", c.a, c.b)
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(stdout+stderr, s) {
					t.Errorf("it does not say %q:\n%s%s", s, stdout, stderr)
				}
			}
		})
	}
	stdout, _, _ := run("authz", "diff", rbac, more, "-o", "json")
	var c authz.Comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || len(c.Widened) != 1 || c.Widened[0].Witness.Resource != "secrets" {
		t.Errorf("as JSON: %v, %s", err, stdout)
	}
}

func TestAuthzQuestions(t *testing.T) {
	rbac := policyFile(t, readers+`---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: robot, namespace: ci}]
`)
	for name, c := range map[string]struct {
		args, want string
	}{
		"a group's":          {"can alice --group developers", "get,list   pods of core   *"},
		"nobody's":           {"can alice", "nothing"},
		"a ServiceAccount's": {"can ci/robot", "get,list   pods of core   shop"},
		"who, anywhere":      {"who get pods", "group developers"},
		"who, in one":        {"who list pods -n shop", "system:serviceaccount:ci:robot   shop"},
		"who, in another":    {"who list pods -n other", "group developers   everywhere"},
		"nobody":             {"who delete deployments.apps", "nobody"},
		"a subresource":      {"who get pods/log", "nobody"},
		"a path":             {"who get /metrics", "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := run(append(append([]string{"authz"}, strings.Fields(c.args)...), "--policy", rbac)...)
			if code != ExitDone || !strings.Contains(stdout, c.want) {
				t.Errorf("exit %d, want %q:\n%s%s", code, c.want, stdout, stderr)
			}
		})
	}
}
