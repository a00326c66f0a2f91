package controller

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

func seed() unit.Access { return unit.Access{ServiceAccounts: v1alpha1.SeedClasses()} }

func account(ns, name string, mounts *bool) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, AutomountServiceAccountToken: mounts}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func placed(ns, role string, accounts ...string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ashlar:serviceaccounts",
		Labels: map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
	for _, a := range accounts {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: a})
	}
	return b
}

func texts(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestPlan(t *testing.T) {
	no, yes := false, true
	terminating := namespace("gone")
	terminating.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	foreign := placed("team", "ashlar:read-only", "mallory")
	foreign.Labels = nil
	for name, c := range map[string]struct {
		have Snapshot
		want []string
	}{
		"a new namespace": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "default", nil), account("shop", "app", nil)}}, []string{
			"RoleBinding shop/ashlar:serviceaccounts: missing → create it",
			"ServiceAccount shop/default: every pod would get its token → unmount it"}},
		"all is well": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "default", &no), account("shop", "app", &yes)},
			RoleBindings:    []*rbacv1.RoleBinding{placed("shop", "ashlar:read-only", "app")}}, nil},
		"nobody but the default": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "default", &no)}}, nil},
		"everywhere": {Snapshot{Namespaces: []*corev1.Namespace{namespace("monitoring"), namespace("kube-system")},
			ServiceAccounts: []*corev1.ServiceAccount{account("monitoring", "scraper", nil), account("kube-system", "coredns", nil)}},
			[]string{"ClusterRoleBinding ashlar:serviceaccounts:monitoring: missing → create it"}},
		"another namespace": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "app", nil)}},
			[]string{"RoleBinding shop/ashlar:serviceaccounts: missing → create it"}},
		"nobody is left": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			RoleBindings: []*rbacv1.RoleBinding{placed("shop", "ashlar:read-only", "app")}},
			[]string{"RoleBinding shop/ashlar:serviceaccounts: no longer declared → delete it"}},
		"another joined": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "app", nil), account("shop", "b", nil)},
			RoleBindings:    []*rbacv1.RoleBinding{placed("shop", "ashlar:read-only", "app")}},
			[]string{"RoleBinding shop/ashlar:serviceaccounts: of others → update it"}},
		"widened": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")},
			ServiceAccounts: []*corev1.ServiceAccount{account("shop", "app", nil)}, RoleBindings: []*rbacv1.RoleBinding{placed("shop", "cluster-admin", "app")}},
			[]string{"RoleBinding shop/ashlar:serviceaccounts: of another role → replace it"}},
		"not ours": {Snapshot{Namespaces: []*corev1.Namespace{namespace("team")},
			ServiceAccounts: []*corev1.ServiceAccount{account("team", "app", nil)}, RoleBindings: []*rbacv1.RoleBinding{foreign}}, nil},
		"on its way out": {Snapshot{Namespaces: []*corev1.Namespace{terminating},
			ServiceAccounts: []*corev1.ServiceAccount{account("gone", "default", nil), account("gone", "app", nil)},
			RoleBindings:    []*rbacv1.RoleBinding{placed("gone", "ashlar:read-only")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := texts(Plan(seed(), v1alpha1.Isolation{}, c.have)); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Whatever there is, carrying the plan out leaves nothing to do, and what is not the controller's as it was.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := seed()
		var s Snapshot
		foreign := 0
		for _, ns := range []string{"kube-system", "monitoring", "shop", "team"} {
			s.Namespaces = append(s.Namespaces, namespace(ns))
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"default", "app", "b"}), rapid.ID).Draw(t, "accounts") {
				mounts := rapid.Bool().Draw(t, "mounts")
				s.ServiceAccounts = append(s.ServiceAccounts, account(ns, name, &mounts))
			}
			if rapid.Bool().Draw(t, "bound") {
				b := placed(ns, rapid.SampledFrom([]string{"ashlar:read-only", "cluster-admin"}).Draw(t, "role"), rapid.SliceOf(rapid.SampledFrom([]string{"app", "b"})).Draw(t, "subjects")...)
				if rapid.Bool().Draw(t, "foreign") {
					b.Labels = nil
					foreign++
				}
				s.RoleBindings = append(s.RoleBindings, b)
			}
		}
		after := carryOut(s, Plan(a, v1alpha1.Isolation{}, s))
		if left := Plan(a, v1alpha1.Isolation{}, after); len(left) > 0 {
			t.Fatalf("still to do: %q", texts(left))
		}
		kept := 0
		for _, b := range after.RoleBindings {
			if !ours(b) {
				kept++
			}
		}
		if kept != foreign {
			t.Fatalf("%d of %d foreign bindings are left", kept, foreign)
		}
	})
}

// carryOut is what an API server would have after the changes.
func carryOut(s Snapshot, changes []Change) Snapshot {
	for _, c := range changes {
		switch o := c.Object.(type) {
		case *corev1.ServiceAccount:
			no := false
			o.AutomountServiceAccountToken = &no
		case *rbacv1.RoleBinding:
			s.RoleBindings = slices.DeleteFunc(slices.Clone(s.RoleBindings), func(b *rbacv1.RoleBinding) bool { return key(b) == key(o) })
			if c.Verb != Delete {
				s.RoleBindings = append(s.RoleBindings, o)
			}
		case *rbacv1.ClusterRoleBinding:
			s.ClusterRoleBindings = slices.DeleteFunc(slices.Clone(s.ClusterRoleBindings), func(b *rbacv1.ClusterRoleBinding) bool { return key(b) == key(o) })
			if c.Verb != Delete {
				s.ClusterRoleBindings = append(s.ClusterRoleBindings, o)
			}
		}
	}
	return s
}

// Against a real API server, with no more rights than its role: it places, repairs, follows a change of what is declared, and one
// takes over from another.
func TestAgainstAnAPIServer(t *testing.T) {
	api := testserver.StartAPI(t, []string{unit.GroupBaseline})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	objects, err := baseline.Objects(baseline.Input{DNSServiceIP: netip.MustParseAddr("10.96.0.10"), ClusterDomain: "cluster.local",
		APIServer: netip.MustParseAddr("10.10.0.5"), CoreDNSImage: "ashlar.dev/coredns:1", Workers: 1, ServiceAccounts: v1alpha1.SeedClasses()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := baseline.Apply(ctx, api.Admin, objects); err != nil {
		t.Fatal(err)
	}
	admin, err := kubernetes.NewForConfig(api.Admin)
	if err != nil {
		t.Fatal(err)
	}
	none, policies, tiers := unit.Access{}, declaredPolicies(t), declaredTiers()
	declare := make(chan unit.Access, 1)
	current := seed()
	options := Options{Config: api.As(unit.GroupBaseline), Log: slog.New(slog.DiscardHandler), Access: func() (unit.Access, error) {
		select {
		case current = <-declare:
		default:
		}
		return current, nil
	}, Policies: func() (Policies, error) { return policies, nil }, Isolation: func() (v1alpha1.Isolation, error) { return tiers, nil }}
	first, stop := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() { o := options; o.Identity = "first"; done <- Run(first, o) }()

	for _, name := range []string{"shop", "monitoring"} {
		if _, err := admin.CoreV1().Namespaces().Create(ctx, namespace(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		// There is no controller-manager to make this one.
		for _, sa := range []string{authz.DefaultAccount, "app"} {
			if _, err := admin.CoreV1().ServiceAccounts(name).Create(ctx, account(name, sa, nil), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	settled := func(what string, a unit.Access) {
		t.Helper()
		testserver.Eventually(t, what, func() bool {
			left, err := Observe(ctx, api.Admin, a, policies, tiers)
			return err == nil && len(left) == 0
		})
	}
	bindings := admin.RbacV1().RoleBindings("shop")
	settled("namespaces as declared", seed())
	if b, err := bindings.Get(ctx, "ashlar:serviceaccounts", metav1.GetOptions{}); err != nil || len(b.Subjects) != 1 || b.Subjects[0].Name != "app" {
		t.Errorf("the binding: %v %v", b, err)
	}
	if err := bindings.Delete(ctx, "ashlar:serviceaccounts", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	settled("repair of what was deleted", seed())
	ours := admin.NetworkingV1().NetworkPolicies("shop")
	np, err := ours.Get(ctx, "ashlar.shop-to-monitoring.egress", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	np.Spec.Egress = nil
	if _, err := ours.Update(ctx, np, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	settled("repair of a NetworkPolicy", seed())
	namespacesAreLimited(t, ctx, admin, func() { settled("repair of what limits a namespace", seed()) })
	open := namespace("shop")
	open.Labels = map[string]string{"team": "research"}
	if _, err := admin.CoreV1().Namespaces().Update(ctx, open, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, "removal from a namespace that was opened", func() bool {
		list, err := ours.List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
	declare <- none
	settled("change of what is declared", none)

	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped: %v", err)
	}
	declare <- seed()
	second, stop := context.WithCancel(ctx)
	go func() { o := options; o.Identity = "second"; done <- Run(second, o) }()
	settled("takeover by another", seed())
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped: %v", err)
	}
}
