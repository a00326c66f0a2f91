package network

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
)

func drawDeclared(t *rapid.T) v1alpha1.NetworkPolicy {
	pods := func() v1alpha1.NetworkPeer {
		p := v1alpha1.NetworkPeer{PodLabels: drawLabels.Draw(t, "labels")}
		if rapid.Bool().Draw(t, "byLabels") {
			p.NamespaceLabels = rapid.SampledFrom([]map[string]string{{"team": "red"}, {"team": "blue"}}).Draw(t, "namespaces")
		} else {
			p.Namespace = rapid.SampledFrom([]string{"shop", "lab", "*"}).Draw(t, "namespace")
		}
		return p
	}
	d := v1alpha1.NetworkPolicy{
		Sets:              []v1alpha1.AddressSet{{Name: "partners", CIDRs: []string{"203.0.113.0/28", "198.51.100.0/24"}}},
		Open:              rapid.SampledFrom([][]v1alpha1.OpenNamespaces{nil, {{Namespace: "lab"}}, {{Labels: map[string]string{"open": "yes"}}}}).Draw(t, "open"),
		MetadataFromHosts: rapid.Bool().Draw(t, "hosts"),
	}
	if rapid.Bool().Draw(t, "metadata") {
		d.Metadata = []v1alpha1.NetworkPeer{pods()}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		r := v1alpha1.NetworkRule{Name: string(rune('a' + i)), From: pods()}
		switch rapid.IntRange(0, 3).Draw(t, "to") {
		case 0:
			r.To = v1alpha1.NetworkPeer{CIDRs: []string{"203.0.113.0/24"}, Except: rapid.SampledFrom([][]string{nil, {"203.0.113.0/29"}}).Draw(t, "except")}
		case 1:
			r.To = v1alpha1.NetworkPeer{Set: "partners"}
		case 2:
			r.To = v1alpha1.NetworkPeer{API: true}
		default:
			r.To = pods()
		}
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			p := drawPort.Draw(t, "port")
			np := v1alpha1.NetworkPort{Protocol: string(p.Protocol), Port: int(p.Number)}
			if rapid.Bool().Draw(t, "range") {
				np.EndPort = np.Port + 5
			}
			if !r.To.API {
				r.Ports = append(r.Ports, np)
			}
		}
		d.Rules = append(d.Rules, r)
	}
	return d
}

// askDNS is the baseline's: every pod may ask, and who answers may learn from the API.
var askDNS = networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "coredns", Namespace: dnsNamespace}, Spec: networkingv1.NetworkPolicySpec{
	PodSelector: metav1.LabelSelector{MatchLabels: dnsLabels}, PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"},
	Egress: []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: balancer.Addr().String() + "/32"}}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(int32(balancer.Port())))}}}},
	Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(dnsPort))},
			{Protocol: new(corev1.ProtocolUDP), Port: new(intstr.FromInt32(dnsPort))}}}}}}

// TestDeclaredIsCompiled: the policies that a declaration compiles to let through what its words say, and nothing else.
func TestDeclaredIsCompiled(t *testing.T) {
	facts := Facts{PodCIDR: podCIDR, ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), MachineCIDR: machineCIDR, APIServer: balancer,
		Workers: []Worker{{"worker-0", machines[0].Address}, {"worker-1", machines[1].Address}}}
	rapid.Check(t, func(t *rapid.T) {
		policy := drawDeclared(t)
		compiled, err := Compile(policy, facts)
		if err != nil {
			t.Fatal(err)
		}
		w := World{Policies: []networkingv1.NetworkPolicy{askDNS}, Global: compiled.Global, Sets: compiled.Sets, Hosts: compiled.Hosts, Between: anyway}
		for _, p := range compiled.Kubernetes { // as the controller places them
			if !policy.Opens(p.Namespace, namespaceLabels[p.Namespace]) {
				w.Policies = append(w.Policies, p)
			}
		}
		d := Declaration{Policy: policy, MachineCIDR: machineCIDR, APIServer: balancer, Between: anyway}
		from := rapid.SampledFrom(slices.Concat(podsOfAll, machines)).Draw(t, "from")
		to, port := rapid.SampledFrom(slices.Concat(podsOfAll, machines, outsiders)).Draw(t, "to"), drawPort.Draw(t, "port")
		got, err := w.Decide(from, to, port)
		if err != nil {
			t.Fatal(err)
		}
		if want, why := d.Allows(from, to, port); got.Allowed != want {
			t.Errorf("%s → %s %s: declared %v (%s), compiled %v: %s", from, to, port, want, why, got.Allowed, got)
		}
	})
}
