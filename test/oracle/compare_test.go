package oracle

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/auth/authorizer/abac"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"ashlar.dev/ashlar/internal/authz"
)

// Kubernetes confirms every witness of a random step from ABAC to RBAC.
func TestWitnesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy")
	first := rand.Uint64()
	if *seed != 0 {
		first = *seed
	}
	witnesses := 0
	for i := range max(1, *pairs/perPolicy/2) {
		r := random{rand.New(rand.NewPCG(first, uint64(i)))}
		text, objects := r.abac(), r.rbac()
		a, err := authz.ReadABAC(text, "policy")
		if err != nil {
			t.Fatal(err)
		}
		b, err := objects.Policy()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := abac.NewFromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, static := validation.NewTestRuleResolver(
			pointers(objects.Roles), pointers(objects.RoleBindings), pointers(objects.ClusterRoles), pointers(objects.ClusterRoleBindings))
		after := rbac.New(static, static, static, static)
		confirm := func(differences []authz.Difference, inA, inB bool) {
			for _, d := range differences {
				witnesses++
				q := attributes(d.Witness)
				was, _, _ := before.Authorize(context.Background(), q)
				is, _, _ := after.Authorize(context.Background(), q)
				if (was == authorizer.DecisionAllow) != inA || (is == authorizer.DecisionAllow) != inB {
					t.Fatalf("-oracle.seed=%d: %v of %v: witness %v: before %v, after %v", first, &d.Box, d.Principals, d.Witness, was, is)
				}
			}
		}
		c := authz.Compare(a, b)
		confirm(c.Widened, false, true)
		confirm(c.Narrowed, true, false)
		confirm(c.Equal, true, true)
	}
	t.Logf("%d witnesses; -oracle.seed=%d", witnesses, first)
	if witnesses == 0 {
		t.Error("nothing ever differed")
	}
}

// What ours reads as ABAC, Kubernetes reads too. Ours is stricter, so not the other way round.
func FuzzABAC(f *testing.F) {
	for i := range uint64(20) {
		f.Add(random{rand.New(rand.NewPCG(1, i))}.abac(), i)
	}
	f.Fuzz(func(t *testing.T, text []byte, n uint64) {
		ours, err := authz.ReadABAC(text, "policy")
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "policy")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		theirs, err := abac.NewFromFile(path)
		if err != nil {
			t.Fatalf("ours reads what Kubernetes does not: %v", err)
		}
		r := random{rand.New(rand.NewPCG(2, n))}
		for range perPolicy {
			ask(t, policy{ours, theirs, string(text)}, r.request(ours))
		}
	})
}
