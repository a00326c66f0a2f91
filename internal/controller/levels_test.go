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

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

func granted() v1alpha1.Isolation {
	return v1alpha1.Isolation{Grants: []v1alpha1.ClassGrant{
		{Class: isolation.Baseline, Namespaces: []string{"shop", "builds"}, Groups: []string{"operators"}},
		{Class: isolation.Privileged, Namespaces: []string{"builds"}, ServiceAccounts: []string{"app", "*"}},
	}}
}

func levelled(name, level string) *corev1.Namespace {
	ns := namespace(name)
	ns.Labels = isolation.LevelLabels(level)
	return ns
}

// Namespaces have the Pod Security level of what is granted there, and grants are bound there; what is not ours stays.
func TestPlanOfGrants(t *testing.T) {
	going := namespace("shop")
	going.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	older := levelled("other", isolation.Restricted)
	older.Labels["pod-security.kubernetes.io/enforce-version"] = "v1.20"
	b := isolation.Bindings(granted(), "shop", nil)[0]
	b.Labels = map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf}
	wide := b.DeepCopy()
	wide.Subjects = append(wide.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"})
	elsewhere := b.DeepCopy()
	elsewhere.Namespace = "other"
	hand := elsewhere.DeepCopy()
	hand.Labels = nil
	system := hand.DeepCopy()
	system.Namespace = "kube-system"
	for name, c := range map[string]struct {
		have Snapshot
		want []string
	}{
		"new": {Snapshot{Namespaces: []*corev1.Namespace{namespace("builds"), namespace("other")}}, []string{
			"RoleBinding builds/ashlar:class:baseline: missing → create it",
			"RoleBinding builds/ashlar:class:privileged: missing → create it",
			"Namespace builds: its Pod Security labels do not say privileged → label it",
			"Namespace other: its Pod Security labels do not say restricted → label it"}},
		"well":            {Snapshot{Namespaces: []*corev1.Namespace{levelled("shop", isolation.Baseline)}, RoleBindings: []*rbacv1.RoleBinding{&b}}, nil},
		"of an old level": {Snapshot{Namespaces: []*corev1.Namespace{older}}, []string{"Namespace other: its Pod Security labels do not say restricted → label it"}},
		"widened": {Snapshot{Namespaces: []*corev1.Namespace{levelled("shop", isolation.Privileged)}, RoleBindings: []*rbacv1.RoleBinding{wide}}, []string{
			"RoleBinding shop/ashlar:class:baseline: of others → update it", "Namespace shop: its Pod Security labels do not say baseline → label it"}},
		"no longer granted": {Snapshot{Namespaces: []*corev1.Namespace{levelled("other", isolation.Restricted)}, RoleBindings: []*rbacv1.RoleBinding{elsewhere}},
			[]string{"RoleBinding other/ashlar:class:baseline: no longer declared → delete it"}},
		"made by hand": {Snapshot{Namespaces: []*corev1.Namespace{levelled("other", isolation.Restricted)}, RoleBindings: []*rbacv1.RoleBinding{hand}},
			[]string{"Namespace other: its Pod Security labels do not say baseline → label it"}},
		"made by hand, for kube-system": {Snapshot{Namespaces: []*corev1.Namespace{levelled("kube-system", isolation.Restricted)}, RoleBindings: []*rbacv1.RoleBinding{system}}, nil},
		"on its way out":                {Snapshot{Namespaces: []*corev1.Namespace{going}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := texts(append(Plan(seed(), granted(), c.have), PlanLevels(granted(), c.have)...))
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Against a real API server that has the baseline: the controller's own rights suffice; what somebody changes is put back.
func TestGrantsAgainstAnAPIServer(t *testing.T) {
	api := testserver.StartAPI(t, []string{unit.GroupBaseline})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	objects, err := baseline.Objects(baseline.Input{DNSServiceIP: netip.MustParseAddr("10.96.0.10"), ClusterDomain: "cluster.local", Isolation: granted(),
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
	go func() {
		_ = Run(ctx, Options{Config: api.As(unit.GroupBaseline), Identity: "one", Log: slog.New(slog.DiscardHandler),
			Access: func() (unit.Access, error) { return seed(), nil }, Policies: func() (Policies, error) { return Policies{}, nil },
			Isolation: func() (v1alpha1.Isolation, error) { return granted(), nil }})
	}()
	if _, err := admin.CoreV1().Namespaces().Create(ctx, namespace("builds"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	settled := func(what string) {
		t.Helper()
		testserver.Eventually(t, what, func() bool {
			left, err := Observe(ctx, api.Admin, seed(), Policies{}, granted())
			return err == nil && len(left) == 0
		})
	}
	settled("namespace with its grants")
	if err := admin.RbacV1().RoleBindings("builds").Delete(ctx, isolation.RoleName(isolation.Privileged), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Namespaces().Patch(ctx, "kube-system", "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null,"pod-security.kubernetes.io/warn":"privileged"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	settled("repair")
	ns, err := admin.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted" || ns.Labels[baseline.LabelManagedBy] != "ashlar" {
		t.Errorf("kube-system: %v %v", ns.Labels, err)
	}
	if b, err := admin.RbacV1().RoleBindings("builds").Get(ctx, isolation.RoleName(isolation.Privileged), metav1.GetOptions{}); err != nil || len(b.Subjects) != 2 {
		t.Errorf("the binding: %v %v", b, err)
	}
	// Two controllers of one label would never be done: `up` and this one agree.
	if drift, err := baseline.Observe(ctx, api.Admin, objects); err != nil || len(drift) > 0 {
		t.Errorf("drift of the baseline: %v %v", drift, err)
	}
}
