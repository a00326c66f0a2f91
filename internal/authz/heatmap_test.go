package authz

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
)

func TestHeatMap(t *testing.T) {
	text, err := os.ReadFile("testdata/heatmap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := ReadRBAC(text, "heatmap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := objects.Policy()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := HeatMap(&page, "Who may do what in demo", p, Subjects(p)); err != nil {
		t.Fatal(err)
	}
	golden(t, "heatmap.html", page.String())
}

func TestSubjects(t *testing.T) {
	p := new(Policy)
	for _, who := range []Principal{{User: "alice"}, {User: "alice"}, {User: "alice", Group: "dev"}, {Group: "dev"}, {Group: groupMasters}, {Group: groupAuthenticated},
		{Group: groupUnauthenticated}, {Group: groupServiceAccounts}, {Group: "system:serviceaccounts:a"}, {User: "system:serviceaccount:a:x"}, {}} {
		p.Grants = append(p.Grants, Grant{Principal: who, Rule: new(Rule)})
	}
	var got []string
	for _, s := range Subjects(p) {
		got = append(got, s.label())
	}
	if want := []string{"group dev", "everybody", "all ServiceAccounts", "ServiceAccounts of a", "group system:unauthenticated", "alice in dev", "alice", "a/x"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A cell says the worst that Allowed allows, and whether everywhere.
func TestHeatMapIsAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawPolicy(t), drawSubject(t)
		columns := columnsOf(p)
		got := profilesOf(p, columns, []Subject{s})[0]
		for i := range columns {
			if h, want := &got.holdings[i], worst(p, s, &columns[i]); h.worst != want {
				t.Fatalf("%v, %+v: %q, want %q", s, columns[i], h.letter(), severity[max(want-1, 0):want])
			}
		}
	})
}

// worst asks for everything that the words can tell apart.
func worst(p *Policy, s Subject, c *column) int {
	out := 0
	for _, q := range everyRequest {
		if !q.ResourceRequest || q.Resource != "pods" || q.APIGroup != "other" { // each of the rest once
			continue
		}
		q.Resource = c.resource
		if c.group != "*" {
			q.APIGroup = c.group
		}
		subs := c.with
		if q.Subresource == "" {
			subs = []string{c.sub}
		}
		for _, q.Subresource = range subs {
			if allowedTo(p, s, q) {
				out = max(out, 1+strings.Index(severity, c.letterOf(q)))
			}
		}
	}
	return out
}

func (c *column) letterOf(q Request) string {
	itself, letter := q.Subresource == c.sub, "r"
	switch {
	case itself && q.Verb == "other": // which only a "*" allows
		letter = "a"
	case itself && len(c.dangers(q.Verb)) > 0:
		letter = "d"
	case q.Verb == "create" || q.Verb == "other":
		letter = "w"
	}
	if q.Namespace == "other" && q.Name == "other" {
		letter = strings.ToUpper(letter)
	}
	return letter
}

// Of several grants the worst counts, and the widest of them.
func TestWorst(t *testing.T) {
	for want, grants := range map[string][]string{
		"":  {"get configmaps in a"},
		"r": {"get nodes in a"},
		"R": {"get nodes in a", "list nodes in *", "get nodes in b"},
		"w": {"get nodes in *", "patch nodes in a"},
		"W": {"patch nodes in *", "patch nodes in a"},
		"d": {"get secrets in a", "list secrets in b"},
		"D": {"* secrets in a", "get secrets in *"},
		"a": {"* secrets in a", "get secrets in b"},
		"A": {"* nodes in *"},
	} {
		p := new(Policy)
		resource := ""
		for _, g := range grants {
			w := strings.Fields(g)
			resource = w[1]
			p.Grants = append(p.Grants, grant(Principal{User: "alice"}, w[0], w[1], w[3]))
		}
		if want == "" {
			resource = "nodes"
		}
		columns := columnsOf(p)
		i := slices.IndexFunc(columns, func(c column) bool { return c.group == "" && c.name() == resource })
		if got := profilesOf(p, columns, []Subject{{User: "alice"}})[0].holdings[i].letter(); got != want {
			t.Errorf("%q: %q, want %q", grants, got, want)
		}
	}
}

// A thousand namespaces are not a thousand rows.
func TestHeatMapOfManyNamespaces(t *testing.T) {
	accounts := Accounts{"kube-system": {"dns"}, "monitoring": {"scraper"}}
	for _, n := range numbered(1000) {
		accounts[n] = []string{"app"}
	}
	p, err := Model(v1alpha1.SeedClasses()).RBAC(accounts).Policy()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	start := time.Now()
	if err := HeatMap(&page, "", p, Subjects(p)); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(page.String(), `<th scope="row"`); rows != 4 {
		t.Errorf("%d rows", rows) // of monitoring, of all others, of all ServiceAccounts, and of everybody and whoever is not
	}
	if !strings.Contains(page.String(), "n0/app <small>and 999 more</small>") {
		t.Error("the namespaces are not one row")
	}
	t.Logf("%d KiB in %s", page.Len()>>10, time.Since(start).Round(time.Millisecond))
}

// Two hundred subjects, each with a role of its own, and a hundred resources.
func BenchmarkHeatMap(b *testing.B) {
	o := new(RBAC)
	for i := range 200 {
		meta := metav1.ObjectMeta{Name: fmt.Sprintf("role-%d", i)}
		role := rbacv1.ClusterRole{ObjectMeta: meta}
		for r := range 10 {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{Verbs: [][]string{read, write, {"get"}, {"*"}}[(i+r)%4], APIGroups: []string{[]string{"", "apps", "*"}[(i+r)%3]},
				Resources: []string{"pods", "secrets", "deployments", fmt.Sprintf("kind-%d", (i*7+r)%20), fmt.Sprintf("kind-%d/status", (i+r)%20)}[r%3:]})
		}
		o.ClusterRoles = append(o.ClusterRoles, role)
		o.RoleBindings = append(o.RoleBindings, rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Namespace: fmt.Sprintf("namespace-%d", i%50)},
			RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name}, Subjects: []rbacv1.Subject{{Kind: "User", Name: fmt.Sprintf("user-%d", i)}}})
	}
	p, err := o.Policy()
	if err != nil {
		b.Fatal(err)
	}
	subjects := Subjects(p)
	b.Logf("%d subjects, %d resources", len(subjects), len(columnsOf(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := HeatMap(io.Discard, "", p, subjects); err != nil {
			b.Fatal(err)
		}
	}
}
