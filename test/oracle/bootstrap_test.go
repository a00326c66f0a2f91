package oracle

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what internal/authz/bootstrap.yaml should say")

// What internal/authz takes for the roles that an API server makes by itself is what this version of it makes.
func TestBootstrap(t *testing.T) {
	const golden = "../../internal/authz/bootstrap.yaml"
	var got bytes.Buffer
	got.WriteString("# The roles and bindings that an API server makes by itself. Written by test/oracle: go test ./... -update\n")
	write := func(kind string, o any) {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "---\napiVersion: %s\nkind: %s\n%s", rbacv1.SchemeGroupVersion, kind, text)
	}
	for _, o := range slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()) {
		write("ClusterRole", o)
	}
	for _, o := range slices.Concat(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()) {
		write("ClusterRoleBinding", o)
	}
	roles, bindings := bootstrappolicy.NamespaceRoles(), bootstrappolicy.NamespaceRoleBindings()
	for _, ns := range slices.Sorted(maps.Keys(roles)) {
		for _, o := range roles[ns] {
			write("Role", o)
		}
	}
	for _, ns := range slices.Sorted(maps.Keys(bindings)) {
		for _, o := range bindings[ns] {
			write("RoleBinding", o)
		}
	}
	text := bytes.ReplaceAll(got.Bytes(), []byte("  creationTimestamp: null\n"), nil)
	if *update {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, text) {
		t.Errorf("%s is stale: go test -update, and review", golden)
	}
}
