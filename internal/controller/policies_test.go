package controller

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

// declaredPolicies lets shop reach monitoring; research is open.
func declaredPolicies(t *testing.T) Policies {
	t.Helper()
	declared := v1alpha1.NetworkPolicy{
		Open: []v1alpha1.OpenNamespaces{{Labels: map[string]string{"team": "research"}}},
		Rules: []v1alpha1.NetworkRule{{Name: "shop-to-monitoring", From: v1alpha1.NetworkPeer{Namespace: "shop"},
			To: v1alpha1.NetworkPeer{Namespace: "monitoring", PodLabels: map[string]string{"app": "push"}}, Ports: []v1alpha1.NetworkPort{{Protocol: "TCP", Port: 9091}}}},
	}
	compiled, err := network.Compile(declared, network.Facts{PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		MachineCIDR: netip.MustParsePrefix("10.90.0.0/24"), APIServer: netip.MustParseAddrPort("10.90.0.9:6443")})
	if err != nil {
		t.Fatal(err)
	}
	return Policies{Declared: declared, Compiled: compiled.Kubernetes}
}

// Namespaces get their NetworkPolicies when they are there; an open one has none, and what is not ours stays.
func TestPlanPolicies(t *testing.T) {
	p := declaredPolicies(t)
	place := func(change func(*networkingv1.NetworkPolicy)) *networkingv1.NetworkPolicy {
		made := PlanPolicies(p, Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")}})
		np := made[0].Object.(*networkingv1.NetworkPolicy).DeepCopy()
		change(np)
		return np
	}
	open := namespace("shop")
	open.Labels = map[string]string{"team": "research"}
	going := namespace("shop")
	going.DeletionTimestamp = &metav1.Time{}
	for name, c := range map[string]struct {
		namespaces []*corev1.Namespace
		have       []*networkingv1.NetworkPolicy
		want       []string
	}{
		"both are new": {[]*corev1.Namespace{namespace("shop"), namespace("monitoring"), namespace("other")}, nil, []string{
			"NetworkPolicy monitoring/ashlar.shop-to-monitoring.ingress: missing → create it",
			"NetworkPolicy shop/ashlar.shop-to-monitoring.egress: missing → create it"}},
		"one is there": {[]*corev1.Namespace{namespace("shop")}, []*networkingv1.NetworkPolicy{place(func(*networkingv1.NetworkPolicy) {})}, nil},
		"edited": {[]*corev1.Namespace{namespace("shop")}, []*networkingv1.NetworkPolicy{place(func(np *networkingv1.NetworkPolicy) { np.Spec.Egress = nil })},
			[]string{"NetworkPolicy shop/ashlar.shop-to-monitoring.egress: it says something else than what is declared → update it"}},
		"somebody else's under our name": {[]*corev1.Namespace{namespace("shop")}, []*networkingv1.NetworkPolicy{place(func(np *networkingv1.NetworkPolicy) { np.Labels = nil })},
			[]string{"NetworkPolicy shop/ashlar.shop-to-monitoring.egress: it has a name of ours, and is not → update it"}},
		"no longer declared": {[]*corev1.Namespace{namespace("shop")}, []*networkingv1.NetworkPolicy{place(func(*networkingv1.NetworkPolicy) {}),
			place(func(np *networkingv1.NetworkPolicy) { np.Name = "ashlar.old.egress" })},
			[]string{"NetworkPolicy shop/ashlar.old.egress: no longer declared → delete it"}},
		"a user's own": {[]*corev1.Namespace{namespace("other")}, []*networkingv1.NetworkPolicy{place(func(np *networkingv1.NetworkPolicy) {
			np.Namespace, np.Name, np.Labels = "other", "mine", nil
		})}, nil},
		"open": {[]*corev1.Namespace{open}, []*networkingv1.NetworkPolicy{place(func(*networkingv1.NetworkPolicy) {})},
			[]string{"NetworkPolicy shop/ashlar.shop-to-monitoring.egress: no longer declared → delete it"}},
		"on its way out": {[]*corev1.Namespace{going}, []*networkingv1.NetworkPolicy{place(func(np *networkingv1.NetworkPolicy) { np.Spec.Egress = nil })}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := texts(PlanPolicies(p, Snapshot{Namespaces: c.namespaces, NetworkPolicies: c.have})); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
