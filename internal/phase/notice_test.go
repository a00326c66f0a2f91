package phase

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
)

func TestNotices(t *testing.T) {
	c, _ := example(t, "local")
	if got := c.Notices(); len(got) > 0 {
		t.Errorf("nothing is to be said of the example, but %v", got)
	}
	c.Spec.Spec.Exposure = v1alpha1.Exposure{TrustedCIDRs: []string{"0.0.0.0/0"}, AcknowledgeEverybody: true}
	c.alone, c.absent = []string{"worker-1"}, []string{"spec.network.policy.open[0].namespace: there is no namespace shop yet"}
	want := []Notice{{Text: "worker-1 is revoked, and left alone until it is made anew"}, {Text: "bastion-0: " + ToEverybody, Bad: true},
		{Text: "spec.network.policy.open[0].namespace: there is no namespace shop yet"}}
	if diff := cmp.Diff(want, c.Notices()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNamedNamespaces(t *testing.T) {
	got := namedNamespaces(v1alpha1.NetworkPolicy{
		Open: []v1alpha1.OpenNamespaces{{Namespace: "legacy"}, {Labels: map[string]string{"open": "yes"}}},
		Rules: []v1alpha1.NetworkRule{{From: v1alpha1.NetworkPeer{Namespace: "shop"}, To: v1alpha1.NetworkPeer{CIDRs: []string{"192.0.2.0/24"}}},
			{From: v1alpha1.NetworkPeer{Namespace: v1alpha1.EveryNamespace}, To: v1alpha1.NetworkPeer{Namespace: "shop"}}},
		Metadata: []v1alpha1.NetworkPeer{{Namespace: "cloud"}},
	})
	want := []namedNamespace{{"spec.network.policy.open[0].namespace", "legacy"}, {"spec.network.policy.rules[0].from.namespace", "shop"},
		{"spec.network.policy.rules[1].to.namespace", "shop"}, {"spec.network.policy.metadata[0].namespace", "cloud"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(namedNamespace{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOfOneLeftAlone(t *testing.T) {
	const line = "/calico/resources/v3/projectcalico.org/felixconfigurations/node.worker-2 is missing → write it"
	for machine, want := range map[string]bool{"worker-2": true, "worker": false, "worker-22": false} {
		if got := ofOneLeftAlone(line, []string{machine}); got != want {
			t.Errorf("of %s: %t", machine, got)
		}
	}
}
