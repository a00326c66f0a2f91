package claim

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

// TestFileSays: what the file declares of every namespace, or of labels, it declares of an attack's pods, and no more.
func TestFileSays(t *testing.T) {
	every := v1alpha1.NetworkPeer{Namespace: v1alpha1.EveryNamespace}
	lb := netip.MustParseAddrPort("10.90.0.11:6443")
	pod := func(name string, last byte, labels map[string]string) (*corev1.Pod, network.Pod) {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "attack", Name: name}},
			network.Pod{Peer: network.Peer{Namespace: "attack", Name: name, Labels: labels, NamespaceLabels: map[string]string{"team": "cloud"},
				Address: netip.AddrFrom4([4]byte{10, 244, 0, last}), Machine: "worker-0", Role: v1alpha1.RoleWorker}}
	}
	a, peerA := pod("a", 1, map[string]string{"app": "controller"})
	b, peerB := pod("b", 2, nil)
	for i, test := range []struct {
		policy                           v1alpha1.NetworkPolicy
		aToB, aToAPI, metaA, metaB, open bool
	}{
		{v1alpha1.NetworkPolicy{}, false, false, false, false, false},
		{v1alpha1.NetworkPolicy{Rules: []v1alpha1.NetworkRule{{Name: "all", From: every, To: every}}}, true, false, false, false, false},
		{v1alpha1.NetworkPolicy{Rules: []v1alpha1.NetworkRule{{Name: "all", From: every, To: every, Ports: []v1alpha1.NetworkPort{{Protocol: "TCP", Port: 9090}}}}}, false, false, false, false, false},
		{v1alpha1.NetworkPolicy{Rules: []v1alpha1.NetworkRule{{Name: "api", From: every, To: v1alpha1.NetworkPeer{API: true}}}}, false, true, false, false, false},
		{v1alpha1.NetworkPolicy{Metadata: []v1alpha1.NetworkPeer{every}}, false, false, true, true, false},
		{v1alpha1.NetworkPolicy{Metadata: []v1alpha1.NetworkPeer{{Namespace: v1alpha1.EveryNamespace, PodLabels: map[string]string{"app": "controller"}}}}, false, false, true, false, false},
		{v1alpha1.NetworkPolicy{Metadata: []v1alpha1.NetworkPeer{{NamespaceLabels: map[string]string{"team": "cloud"}}}}, false, false, true, true, false},
		{v1alpha1.NetworkPolicy{Metadata: []v1alpha1.NetworkPeer{{NamespaceLabels: map[string]string{"team": "web"}}, {Namespace: "attacks"}}}, false, false, false, false, false},
		{v1alpha1.NetworkPolicy{Open: []v1alpha1.OpenNamespaces{{Labels: map[string]string{"team": "cloud"}}}}, false, false, false, false, true},
	} {
		says := newFileSays(&network.Declaration{Policy: test.policy, MachineCIDR: netip.MustParsePrefix("10.90.0.0/24"), APIServer: lb,
			Between: func(network.Peer, network.Peer, network.Port) (bool, string) { return true, "" }},
			&network.Inventory{Pods: []network.Pod{peerA, peerB}})
		got := []bool{says.declared.Ruled(says.pod(a), says.pod(b), tcp(8080)), says.declared.Ruled(says.pod(a), at("lb-0", lb.Addr()), tcp(6443)),
			says.metadata(a), says.metadata(b), says.open(a)}
		if want := []bool{test.aToB, test.aToAPI, test.metaA, test.metaB, test.open}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
}

// TestAnywhere: an attack makes pods of what is declared for labels and for every namespace, and none in somebody's own.
func TestAnywhere(t *testing.T) {
	got := anywhere([]v1alpha1.NetworkPeer{{Namespace: "cloud"}, {Namespace: "*", PodLabels: map[string]string{"a": "b"}}, {PodLabels: map[string]string{"c": "d"}},
		{NamespaceLabels: map[string]string{corev1.LabelMetadataName: "cloud"}}, {NamespaceLabels: map[string]string{"team": "x"}}})
	if len(got) != 3 || got[0].PodLabels["a"] != "b" || got[1].PodLabels["c"] != "d" || got[2].NamespaceLabels["team"] != "x" {
		t.Errorf("%+v", got)
	}
}
