package network

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
)

var compileFacts = Facts{PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
	MachineCIDR: netip.MustParsePrefix("10.90.0.0/24"), APIServer: netip.MustParseAddrPort("10.90.0.4:6443"),
	Workers: []Worker{{"worker-0", netip.MustParseAddr("10.90.0.7")}}}

// end is one of a connection: a pod if it has a namespace.
type end struct {
	namespace string
	labels    map[string]string
	address   netip.Addr
}

// labelsOfNamespace are those of the small world that the property is tried in.
var labelsOfNamespace = map[string]map[string]string{"a": {"team": "x"}, "b": {"team": "y"}, "c": {"team": "y", "open": "yes"}, "d": {}, "kube-system": {}}

func world() []end {
	var out []end
	n := byte(10)
	for _, ns := range []string{"a", "b", "c", "d", "kube-system"} {
		for _, app := range []string{"1", "2"} {
			n++
			out = append(out, end{ns, map[string]string{"app": app}, netip.AddrFrom4([4]byte{10, 244, 0, n})})
		}
	}
	out = append(out, end{"kube-system", map[string]string{"k8s-app": "kube-dns"}, netip.MustParseAddr("10.244.1.1")})
	for _, a := range []string{"198.51.100.1", "198.51.100.200", "192.0.2.7", "10.90.0.4", "10.90.0.7", "10.90.0.2", "169.254.169.254"} {
		out = append(out, end{address: netip.MustParseAddr(a)})
	}
	return out
}

// TestCompiledMeansDeclared holds what the compiled policies do, walked as Calico does, against what the words of random
// policies say: for every two ends of a small world, and every port.
func TestCompiledMeansDeclared(t *testing.T) {
	ends, verdicts := world(), map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t)
		compiled, err := Compile(policy, compileFacts)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range ends {
			for _, to := range ends {
				if from.namespace == "" && to.namespace == "" || from.address == to.address {
					continue
				}
				for _, port := range []Port{{"TCP", 53}, {"TCP", 80}, {"TCP", 6443}, {"UDP", 80}, {"UDP", 53}, {"SCTP", 85}} {
					want, got := declared(policy, from, to, port), enforced(policy, compiled, from, to, port)
					verdicts[want]++
					if got != want {
						t.Fatalf("%+v\n%v → %v %v: enforced %t, declared %t", policy, from, to, port, got, want)
					}
				}
			}
		}
	})
	t.Logf("allowed %d, refused %d", verdicts[true], verdicts[false])
	if verdicts[true] == 0 || verdicts[false] == 0 {
		t.Error("only one verdict: the test tests nothing")
	}
}

// declared is the meaning of a policy, in its own words.
func declared(p v1alpha1.NetworkPolicy, from, to end, port Port) bool {
	open := func(e end) bool { return p.Opens(e.namespace, labelsOfNamespace[e.namespace]) }
	allowed := slices.ContainsFunc(p.Rules, func(r v1alpha1.NetworkRule) bool {
		return isPeerOf(p, r.From, from, Port{}) && isPeerOf(p, r.To, to, port) && hasPort(r, port)
	})
	toDNS := to.labels["k8s-app"] == "kube-dns" && port.Number == 53 && port.Protocol != "SCTP"
	if from.namespace != "" {
		machine := compileFacts.MachineCIDR.Contains(to.address)
		switch {
		case Metadata.Contains(to.address):
			return slices.ContainsFunc(p.Metadata, func(m v1alpha1.NetworkPeer) bool { return isPeerOf(p, m, from, Port{}) })
		case machine && (to.address != compileFacts.APIServer.Addr() || port != Port{"TCP", 6443}):
			return false
		case !open(from) && !allowed && !toDNS:
			return false
		}
	}
	return to.namespace == "" || open(to) || allowed || toDNS && from.namespace != ""
}

func isPeerOf(p v1alpha1.NetworkPolicy, peer v1alpha1.NetworkPeer, e end, port Port) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return netip.MustParsePrefix(s).Contains(e.address) })
	}
	own := e.namespace != "" || compileFacts.MachineCIDR.Contains(e.address)
	switch {
	case peer.IsPods():
		return e.namespace != "" && (peer.Namespace == "" || peer.Namespace == "*" || peer.Namespace == e.namespace) &&
			hasLabels(peer.NamespaceLabels, labelsOfNamespace[e.namespace]) && hasLabels(peer.PodLabels, e.labels)
	case peer.API:
		return e.address == compileFacts.APIServer.Addr() && port == Port{"TCP", 6443}
	case peer.Set != "":
		i := slices.IndexFunc(p.Sets, func(s v1alpha1.AddressSet) bool { return s.Name == peer.Set })
		return !own && in(p.Sets[i].CIDRs)
	}
	return !own && in(peer.CIDRs) && !in(peer.Except)
}

func hasLabels(want, have map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func hasPort(r v1alpha1.NetworkRule, port Port) bool {
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p v1alpha1.NetworkPort) bool {
		return p.Protocol == string(port.Protocol) && (p.Port == 0 || p.Port <= int(port.Number) && int(port.Number) <= max(p.Port, p.EndPort))
	})
}

// enforced walks what was compiled: the pod that connects, the machine that it leaves, the pod that is connected to.
func enforced(p v1alpha1.NetworkPolicy, c Compiled, from, to end, port Port) bool {
	if from.namespace != "" && !walk(p, c, false, from, from, to, port) {
		return false
	}
	if from.namespace != "" && to.namespace == "" && !walk(p, c, false, end{}, from, to, port) {
		return false
	}
	return to.namespace == "" || walk(p, c, true, to, from, to, port)
}

// walk asks the policies of one end in their order; without a namespace it is the machine. Pods without any are open.
func walk(p v1alpha1.NetworkPolicy, c Compiled, ingress bool, self, from, to end, port Port) bool {
	asked, selected := false, false
	for _, g := range c.Global {
		if g.Order > OrderKubernetes && !asked && self.namespace != "" {
			asked = true
			ok, some := placed(p, c.Kubernetes, ingress, self, from, to, port)
			if ok {
				return true
			}
			selected = selected || some
		}
		rules := g.Egress
		if ingress {
			rules = g.Ingress
		}
		if rules == nil || g.Hosts != (self.namespace == "") || g.Hosts && !g.ApplyOnForward ||
			g.Pods != nil && !g.Pods.Matches(self.namespace, labelsOfNamespace[self.namespace], self.labels) {
			continue
		}
		selected = true
		for _, r := range *rules {
			if (r.Protocol == "" || r.Protocol == string(port.Protocol)) && r.NotProtocol != string(port.Protocol) &&
				hits(c, r.Source, from, 0) && hits(c, r.Destination, to, uint16(port.Number)) {
				return r.Action == Allow
			}
		}
	}
	return !selected
}

func hits(c Compiled, m Match, e end, port uint16) bool {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(e.address) })
	}
	of := func(list []PortRange) bool {
		return slices.ContainsFunc(list, func(r PortRange) bool { return r.First <= port && port <= r.Last })
	}
	set := slices.IndexFunc(c.Sets, func(s Set) bool { return s.Name == m.Set })
	return (m.Pods == nil || e.namespace != "" && m.Pods.Matches(e.namespace, labelsOfNamespace[e.namespace], e.labels)) &&
		(m.Set == "" || set >= 0 && in(c.Sets[set].Nets)) && (len(m.Nets) == 0 || in(m.Nets)) && !in(m.NotNets) &&
		(len(m.Ports) == 0 || of(m.Ports)) && !of(m.NotPorts)
}

// placed is what the NetworkPolicies of a namespace say, of the shapes that are compiled; and kube-system's own of DNS.
func placed(p v1alpha1.NetworkPolicy, policies []networkingv1.NetworkPolicy, ingress bool, self, from, to end, port Port) (allowed, selected bool) {
	if self.namespace == "kube-system" {
		selected = true
		if ingress && self.labels["k8s-app"] == "kube-dns" && port.Number == 53 && port.Protocol != "SCTP" && from.namespace != "" {
			return true, true
		}
	}
	if p.Opens(self.namespace, labelsOfNamespace[self.namespace]) {
		return false, selected
	}
	for _, np := range policies {
		other := to
		var peers []networkingv1.NetworkPolicyPeer
		var ports []networkingv1.NetworkPolicyPort
		switch {
		case np.Namespace != self.namespace || !hasLabels(np.Spec.PodSelector.MatchLabels, self.labels) || ingress != (len(np.Spec.Ingress) > 0):
			continue
		case ingress:
			other, peers, ports = from, np.Spec.Ingress[0].From, np.Spec.Ingress[0].Ports
		default:
			peers, ports = np.Spec.Egress[0].To, np.Spec.Egress[0].Ports
		}
		selected = true
		peer := slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
			if p.IPBlock == nil {
				return other.namespace == p.NamespaceSelector.MatchLabels[corev1.LabelMetadataName] && hasLabels(p.PodSelector.MatchLabels, other.labels)
			}
			hole := slices.ContainsFunc(p.IPBlock.Except, func(s string) bool { return netip.MustParsePrefix(s).Contains(other.address) })
			return netip.MustParsePrefix(p.IPBlock.CIDR).Contains(other.address) && !hole
		})
		open := len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
			if *p.Protocol != port.Protocol || p.Port == nil {
				return *p.Protocol == port.Protocol
			}
			last := p.Port.IntVal
			if p.EndPort != nil {
				last = *p.EndPort
			}
			return p.Port.IntVal <= port.Number && port.Number <= last
		})
		if peer && open {
			return true, true
		}
	}
	return false, selected
}

func drawPolicy(t *rapid.T) v1alpha1.NetworkPolicy {
	p := v1alpha1.NetworkPolicy{MetadataFromHosts: rapid.Bool().Draw(t, "metadata from hosts"),
		Sets: []v1alpha1.AddressSet{{Name: "s", CIDRs: []string{"198.51.100.0/25"}}, {Name: "all", CIDRs: []string{"0.0.0.0/1", "192.0.0.0/8"}}}}
	for _, o := range []v1alpha1.OpenNamespaces{{Namespace: "a"}, {Labels: map[string]string{"open": "yes"}}} {
		if rapid.Bool().Draw(t, "open") {
			p.Open = append(p.Open, o)
		}
	}
	podsOf := rapid.Custom(func(t *rapid.T) v1alpha1.NetworkPeer {
		peer := v1alpha1.NetworkPeer{Namespace: rapid.SampledFrom([]string{"a", "b", "c", "d", "*"}).Draw(t, "namespace")}
		if rapid.Bool().Draw(t, "by labels") {
			peer.Namespace, peer.NamespaceLabels = "", map[string]string{"team": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "team")}
		}
		if rapid.Bool().Draw(t, "labels") {
			peer.PodLabels = map[string]string{"app": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "app")}
		}
		return peer
	})
	others := []v1alpha1.NetworkPeer{{CIDRs: []string{"0.0.0.0/0"}}, {CIDRs: []string{"198.51.100.0/24"}, Except: []string{"198.51.100.128/25"}},
		{CIDRs: []string{"10.0.0.0/8", "192.0.2.7/32"}}, {Set: "s"}, {Set: "all"}, {API: true}}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		r := v1alpha1.NetworkRule{Name: fmt.Sprintf("r%d", i), From: podsOf.Draw(t, "from"), To: podsOf.Draw(t, "to")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			r.To = rapid.SampledFrom(others).Draw(t, "outside")
		case 2:
			r.From = rapid.SampledFrom(others[:5]).Draw(t, "from outside")
		}
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			first := rapid.SampledFrom([]int{0, 53, 80, 81}).Draw(t, "port")
			port := v1alpha1.NetworkPort{Protocol: rapid.SampledFrom([]string{"TCP", "UDP", "SCTP"}).Draw(t, "protocol"), Port: first}
			if first > 0 && rapid.Bool().Draw(t, "range") {
				port.EndPort = first + 10
			}
			if !r.To.API {
				r.Ports = append(r.Ports, port)
			}
		}
		p.Rules = append(p.Rules, r)
	}
	p.Metadata = rapid.SliceOfN(podsOf, 0, 2).Draw(t, "metadata")
	return p
}
