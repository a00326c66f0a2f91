package controller

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

func node(name string, ready corev1.ConditionStatus) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if ready != "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	}
	return n
}

// Only of members that Kubernetes does not hear is anything asked.
func TestSilent(t *testing.T) {
	got := silent([]corev1.Node{*node(unit.MemberName("i-1", "eu-west-1"), corev1.ConditionTrue), *node(unit.MemberName("i-2", "eu-west-1"), corev1.ConditionUnknown),
		*node(unit.MemberName("i-3", "eu-west-1"), corev1.ConditionFalse), *node(unit.MemberName("i-4", "eu-west-1"), ""), *node("worker-0", corev1.ConditionUnknown)})
	if want := []string{"i-2", "i-3", "i-4"}; !slices.Equal(got, want) {
		t.Errorf("asked about %v, want %v", got, want)
	}
}

// Against a real API server, with no more rights than the role has where machines come and go; and with those that it has elsewhere.
func TestDepartedAgainstAnAPIServer(t *testing.T) {
	api := testserver.StartAPI(t, []string{unit.GroupBaseline})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	admin, err := kubernetes.NewForConfig(api.Admin)
	if err != nil {
		t.Fatal(err)
	}
	allow := func(members bool) {
		t.Helper()
		objects, err := baseline.Objects(baseline.Input{DNSServiceIP: netip.MustParseAddr("10.96.0.10"), ClusterDomain: "cluster.local", Members: members,
			APIServer: netip.MustParseAddr("10.10.0.5"), CoreDNSImage: "ashlar.dev/coredns:1", Workers: 1, ServiceAccounts: v1alpha1.SeedClasses()})
		if err == nil {
			_, err = baseline.Apply(ctx, api.Admin, objects)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	gone, stays := unit.MemberName("i-1", "eu-west-1"), []string{unit.MemberName("i-2", "eu-west-1"), unit.MemberName("i-3", "eu-west-1"), "worker-0"}
	for _, n := range []*corev1.Node{node(gone, corev1.ConditionUnknown), node(stays[0], corev1.ConditionTrue), node(stays[1], corev1.ConditionUnknown), node(stays[2], corev1.ConditionUnknown)} {
		made, err := admin.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{})
		if err == nil {
			made.Status = n.Status
			_, err = admin.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	options := Options{Config: api.As(unit.GroupBaseline), Identity: "one", Log: slog.New(slog.DiscardHandler),
		Access:    func() (unit.Access, error) { return seed(), nil },
		Policies:  func() (Policies, error) { return declaredPolicies(t), nil },
		Isolation: func() (v1alpha1.Isolation, error) { return v1alpha1.Isolation{}, nil },
		// i-2 is gone, too, by its cloud; but its node is Ready, so that nobody asks.
		Gone: func(_ context.Context, asked []string) ([]string, error) {
			return slices.DeleteFunc(slices.Clone(asked), func(id string) bool { return id != "i-1" && id != "i-2" }), nil
		}}
	client, err := kubernetes.NewForConfig(options.Config)
	if err != nil {
		t.Fatal(err)
	}
	allow(false)
	if names, err := departed(ctx, client, options); !apierrors.IsForbidden(err) {
		t.Errorf("where machines do not come and go, the controller may see or delete nodes: %v, %v", names, err)
	}
	allow(true)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- Run(running, options) }()
	testserver.Eventually(t, "deletion of the node of an instance that is gone", func() bool {
		_, err := admin.CoreV1().Nodes().Get(ctx, gone, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	for _, name := range stays {
		if _, err := admin.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped: %v", err)
	}
}
