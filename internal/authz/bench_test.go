package authz

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// largeObjects are a policy of 1,000 namespaces and 5,000 rules, none of which is like another. In each namespace there is a
// role of five rules, for its ServiceAccounts and for a team that has ten; an auditor is in all.
func largeObjects(variant int) *RBAC {
	o := new(RBAC)
	for n := range 1000 {
		meta := metav1.ObjectMeta{Namespace: fmt.Sprintf("namespace-%d", n), Name: "role"}
		role := rbacv1.Role{ObjectMeta: meta}
		for r := range 5 {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{
				Verbs:     [][]string{{"get", "list", "watch"}, {"*"}, {"create", "delete"}, {"patch"}, {"get"}}[r],
				APIGroups: []string{[]string{"", "apps", "batch"}[(n+r)%3]},
				Resources: []string{"pods", "secrets", fmt.Sprintf("kind-%d", (n*7+r)%400), fmt.Sprintf("kind-%d/status", (n+r+variant)%300)}[min(r, 2):],
			})
			if r == 4 {
				role.Rules[r].ResourceNames = []string{fmt.Sprintf("object-%d", n+variant)}
			}
		}
		o.Roles = append(o.Roles, role)
		o.RoleBindings = append(o.RoleBindings, rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "role"},
			Subjects: []rbacv1.Subject{
				{Kind: "Group", Name: ServiceAccountGroup(meta.Namespace)},
				{Kind: "Group", Name: fmt.Sprintf("team-%d", n/10)},
				{Kind: "User", Name: "auditor"},
			}})
	}
	return o
}

func large(t testing.TB, variant int) *Policy {
	p, err := largeObjects(variant).Policy()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// All that a diff of two files does.
func BenchmarkReadAndCompare(b *testing.B) {
	var files [2][]byte
	for i := range files {
		o := largeObjects(i)
		for j := range o.Roles {
			files[i] = append(files[i], document(b, "Role", &o.Roles[j])...)
			files[i] = append(files[i], document(b, "RoleBinding", &o.RoleBindings[j])...)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		var policies [2]*Policy
		for i, file := range files {
			o, err := ReadRBAC(file, "file")
			if err != nil {
				b.Fatal(err)
			}
			if policies[i], err = o.Policy(); err != nil {
				b.Fatal(err)
			}
		}
		if c := Compare(policies[0], policies[1]); len(c.Widened) == 0 {
			b.Fatal("found nothing")
		}
	}
}

func document(b *testing.B, kind string, o any) []byte {
	text, err := yaml.Marshal(o)
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Appendf(nil, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %s\n%s", kind, text)
}

func BenchmarkCompare(b *testing.B) {
	first, second := large(b, 0), large(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if c := Compare(first, second); len(c.Widened) == 0 {
			b.Fatal("found nothing")
		}
	}
}

// crowded is 5,000 rules for one subject in one namespace, in which everything overlaps.
func crowded(variant int) *Policy {
	p := new(Policy)
	for i := range 5000 {
		p.Grants = append(p.Grants, Grant{Principal: Principal{Group: "dev"}, Everywhere: i%5 == 0, Namespace: fmt.Sprintf("namespace-%d", i%1000), Rule: &Rule{
			Verbs: []string{[]string{"get", "list", "watch", "create", "delete"}[(i/3)%5]}, APIGroups: []string{[]string{"*", "apps", ""}[i%3]},
			Resources: []string{fmt.Sprintf("kind-%d", (i+variant)%97), fmt.Sprintf("kind-%d/status", i%89)},
		}})
	}
	return p
}

func BenchmarkCompareCrowded(b *testing.B) {
	first, second := crowded(0), crowded(1)
	b.ReportAllocs()
	for b.Loop() {
		if c := Compare(first, second); len(c.Widened) == 0 {
			b.Fatal("found nothing")
		}
	}
}

// What is promised of size: two such policies within two seconds and 500 MB. A machine under load gets more time.
func TestCompareIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("compares large policies")
	}
	first, second := large(t, 0), large(t, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	c := Compare(first, second)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%d widened, %d narrowed, %d equal in %s, %d MiB allocated in all", len(c.Widened), len(c.Narrowed), len(c.Equal), took.Round(time.Millisecond), allocated)
	if allocated > 500 {
		t.Errorf("allocated %d MiB", allocated)
	}
	if took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}
