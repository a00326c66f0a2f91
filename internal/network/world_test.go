package network

import (
	"cmp"
	"maps"
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

// A small cluster: three namespaces with pods on two workers, the machines, and addresses outside.
var (
	machineCIDR, podCIDR = netip.MustParsePrefix("10.90.0.0/24"), netip.MustParsePrefix("10.244.0.0/16")
	balancer             = netip.MustParseAddrPort("10.90.0.3:6443")
	namespaceLabels      = map[string]map[string]string{
		"shop": {"team": "red", "kubernetes.io/metadata.name": "shop"}, "lab": {"team": "blue", "open": "yes", "kubernetes.io/metadata.name": "lab"},
		"kube-system": {"kubernetes.io/metadata.name": "kube-system"}}
	machines = []Peer{
		machine("worker-0", v1alpha1.RoleWorker, "10.90.0.11", "10.244.0.1"), machine("worker-1", v1alpha1.RoleWorker, "10.90.0.12", "10.244.1.1"),
		machine("lb-0", v1alpha1.RoleLB, "10.90.0.3", ""), machine("etcd-0", v1alpha1.RoleEtcd, "10.90.0.4", ""),
	}
	podsOfAll = []Peer{
		onPod("shop", "web", 0, "10.244.0.10"), onPod("shop", "web", 1, "10.244.1.10"), onPod("shop", "client", 0, "10.244.0.11"),
		onPod("lab", "web", 1, "10.244.1.20"), onPod("lab", "client", 0, "10.244.0.20"),
		{Name: "coredns", Namespace: "kube-system", Labels: map[string]string{"k8s-app": "kube-dns"}, NamespaceLabels: namespaceLabels["kube-system"],
			Address: netip.MustParseAddr("10.244.1.53"), Machine: "worker-1", Role: v1alpha1.RoleWorker, MachineAddress: machines[1].Address},
	}
	outsiders = []Peer{{Name: "near", Address: netip.MustParseAddr("203.0.113.7")}, {Name: "far", Address: netip.MustParseAddr("198.51.100.9")},
		{Name: "metadata", Address: Metadata.Addr()}}
)

func machine(name string, role v1alpha1.Role, address, tunnel string) Peer {
	p := Peer{Name: name, Machine: name, Role: role, Address: netip.MustParseAddr(address)}
	if tunnel != "" {
		p.Tunnel = netip.MustParseAddr(tunnel)
	}
	return p
}

func onPod(namespace, app string, worker int, address string) Peer {
	return Peer{Name: app + address, Namespace: namespace, Labels: map[string]string{"app": app}, NamespaceLabels: namespaceLabels[namespace],
		Address: netip.MustParseAddr(address), Machine: machines[worker].Machine, Role: v1alpha1.RoleWorker, MachineAddress: machines[worker].Address,
		Ports: map[string]int32{"http": 8080}}
}

// anyway is a network between machines that lets through all but what its tests are about.
func anyway(from, to Peer, port Port) (bool, string) {
	return port.Number != 9 || to.Machine == "", "the security groups"
}

var (
	drawPort = rapid.Custom(func(t *rapid.T) Port {
		return Port{rapid.SampledFrom([]corev1.Protocol{"TCP", "UDP", "SCTP"}).Draw(t, "protocol"),
			rapid.SampledFrom([]int32{9, 53, 80, 443, 6443, 8080, 8081, 8085}).Draw(t, "port")}
	})
	drawLabels = rapid.SampledFrom([]map[string]string{nil, {"app": "web"}, {"app": "client"}, {"app": "nobody"}})
	drawNets   = rapid.SampledFrom([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.9/32"), podCIDR,
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.244.1.0/24"), machineCIDR})
)

func drawKubernetes(t *rapid.T) networkingv1.NetworkPolicy {
	p := networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: rapid.SampledFrom([]string{"shop", "lab"}).Draw(t, "namespace")}}
	p.Spec.PodSelector.MatchLabels = drawLabels.Draw(t, "pods")
	p.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{{"Ingress"}, {"Egress"}, {"Ingress", "Egress"}}).Draw(t, "types")
	peers := func() (out []networkingv1.NetworkPolicyPeer) {
		for range rapid.IntRange(0, 2).Draw(t, "peers") {
			var peer networkingv1.NetworkPolicyPeer
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				peer.IPBlock = &networkingv1.IPBlock{CIDR: drawNets.Draw(t, "net").String()}
			case 1:
				peer.PodSelector = &metav1.LabelSelector{MatchLabels: drawLabels.Draw(t, "labels")}
			default:
				peer.NamespaceSelector = &metav1.LabelSelector{MatchLabels: rapid.SampledFrom([]map[string]string{nil, {"team": "red"}}).Draw(t, "namespaces")}
			}
			out = append(out, peer)
		}
		return out
	}
	ports := func() (out []networkingv1.NetworkPolicyPort) {
		for range rapid.IntRange(0, 1).Draw(t, "ports") {
			d := drawPort.Draw(t, "port")
			port, last := intstr.FromInt32(d.Number), d.Number+5
			np := networkingv1.NetworkPolicyPort{Protocol: &d.Protocol, Port: &port}
			if rapid.Bool().Draw(t, "range") {
				np.EndPort = &last
			}
			out = append(out, np)
		}
		return out
	}
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: peers(), Ports: ports()}}
	p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: peers(), Ports: ports()}}
	return p
}

func drawGlobal(t *rapid.T) Global {
	g := Global{Name: rapid.StringMatching("[a-c]").Draw(t, "name"), Order: rapid.SampledFrom([]float64{10, 50, 999, 1500, 2000}).Draw(t, "order")}
	selector := func() *PodSelector {
		return &PodSelector{Namespace: rapid.SampledFrom([]string{"", "shop"}).Draw(t, "in"), PodLabels: drawLabels.Draw(t, "labels"),
			NotNamespaces: rapid.SampledFrom([][]v1alpha1.OpenNamespaces{nil, {{Namespace: "lab"}}, {{Labels: map[string]string{"open": "yes"}}}}).Draw(t, "but")}
	}
	match := func() (m Match) {
		switch rapid.IntRange(0, 3).Draw(t, "match") {
		case 0:
			m.Pods = selector()
		case 1:
			m.Nets = []netip.Prefix{drawNets.Draw(t, "net")}
		case 2:
			m.Set = "partners"
		}
		return m
	}
	rules := func() *[]GlobalRule {
		if rapid.Bool().Draw(t, "silent") {
			return nil
		}
		out := []GlobalRule{}
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			r := GlobalRule{Action: rapid.SampledFrom([]Action{Allow, Deny}).Draw(t, "action"), Source: match(), Destination: match(),
				Protocol: rapid.SampledFrom([]string{"", "TCP", "UDP"}).Draw(t, "protocol")}
			if r.Protocol != "" && rapid.Bool().Draw(t, "ports") {
				r.Destination.Ports = []PortRange{{8080, 8081}}
			}
			out = append(out, r)
		}
		return &out
	}
	if g.Pods = selector(); rapid.IntRange(0, 3).Draw(t, "hosts") == 0 {
		g.Pods, g.Hosts, g.ApplyOnForward = nil, true, rapid.Bool().Draw(t, "forward")
	}
	g.Ingress, g.Egress = rules(), rules()
	return g
}

// TestWorldByForce holds the simulation of pods against one list of closures, walked from its front to its end.
func TestWorldByForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := World{Between: anyway, Sets: []Set{{"partners", []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}},
			Policies: rapid.SliceOfN(rapid.Custom(drawKubernetes), 0, 4).Draw(t, "kubernetes"),
			Global:   rapid.SliceOfN(rapid.Custom(drawGlobal), 0, 5).Draw(t, "global")}
		from, port := rapid.SampledFrom(podsOfAll).Draw(t, "from"), drawPort.Draw(t, "port")
		to := rapid.SampledFrom(slices.Concat(podsOfAll, outsiders)).Draw(t, "to")
		if from.Address == to.Address {
			return
		}
		got, err := w.Decide(from, to, port)
		if err != nil {
			t.Fatal(err)
		}
		want := byForce(&w, "egress", from, to, from, to, port)
		if to.Namespace != "" {
			want = want && byForce(&w, "ingress", from, to, to, from, port)
		}
		if got.Allowed != want {
			t.Errorf("%s → %s %s: %v, by force %v\n%s", from, to, port, got.Allowed, want, got)
		}
		if !got.Allowed && got.Last().Policy == "" {
			t.Errorf("it does not name what refuses: %s", got)
		}
	})
}

func byForce(w *World, way string, from, to, self, other Peer, port Port) bool {
	type item struct {
		order float64
		name  string
		rules []func() (bool, bool) // matches, allows
	}
	var all []item
	for _, g := range w.Global {
		rules := map[string]*[]GlobalRule{"ingress": g.Ingress, "egress": g.Egress}[way]
		if g.Hosts || rules == nil || !forceSelects(g.Pods, self) {
			continue
		}
		it := item{order: g.Order, name: g.Name}
		for _, r := range *rules {
			it.rules = append(it.rules, func() (bool, bool) {
				ok := (r.Protocol == "" || r.Protocol == string(port.Protocol)) && forceEnd(w, r.Source, from) && forceEnd(w, r.Destination, to)
				if len(r.Destination.Ports) > 0 {
					ok = ok && port.Number >= int32(r.Destination.Ports[0].First) && port.Number <= int32(r.Destination.Ports[0].Last)
				}
				return ok, r.Action == Allow
			})
		}
		all = append(all, it)
	}
	for _, p := range w.Policies {
		if self.Namespace != p.Namespace || !subset(p.Spec.PodSelector.MatchLabels, self.Labels) {
			continue
		}
		it := item{order: 1000}
		add := func(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
			it.rules = append(it.rules, func() (bool, bool) {
				peer, open := len(peers) == 0, len(ports) == 0
				for _, q := range peers {
					switch {
					case q.IPBlock != nil:
						peer = peer || netip.MustParsePrefix(q.IPBlock.CIDR).Contains(other.Address)
					case q.NamespaceSelector != nil:
						peer = peer || other.Namespace != "" && subset(q.NamespaceSelector.MatchLabels, other.NamespaceLabels)
					default:
						peer = peer || other.Namespace == p.Namespace && subset(q.PodSelector.MatchLabels, other.Labels)
					}
				}
				for _, q := range ports {
					last := q.Port.IntVal
					if q.EndPort != nil {
						last = *q.EndPort
					}
					open = open || *q.Protocol == port.Protocol && q.Port.IntVal <= port.Number && port.Number <= last
				}
				return peer && open, true
			})
		}
		switch {
		case way == "ingress" && slices.Contains(p.Spec.PolicyTypes, "Ingress"):
			add(p.Spec.Ingress[0].From, p.Spec.Ingress[0].Ports)
		case way == "egress" && slices.Contains(p.Spec.PolicyTypes, "Egress"):
			add(p.Spec.Egress[0].To, p.Spec.Egress[0].Ports)
		default:
			continue
		}
		all = append(all, it)
	}
	slices.SortStableFunc(all, func(a, b item) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name)) })
	for _, it := range all {
		for _, r := range it.rules {
			if matches, allows := r(); matches {
				return allows
			}
		}
	}
	return len(all) == 0
}

func subset(want, have map[string]string) bool {
	both := maps.Clone(have)
	if both == nil {
		both = map[string]string{}
	}
	maps.Copy(both, want)
	return maps.Equal(both, have) || len(want) == 0
}

func forceSelects(s *PodSelector, p Peer) bool {
	if p.Namespace == "" || s.Namespace != "" && s.Namespace != p.Namespace || !subset(s.PodLabels, p.Labels) {
		return false
	}
	for _, n := range s.NotNamespaces {
		if n.Namespace == p.Namespace || n.Namespace == "" && subset(n.Labels, p.NamespaceLabels) {
			return false
		}
	}
	return true
}

func forceEnd(w *World, m Match, p Peer) bool {
	switch {
	case m.Pods != nil:
		return forceSelects(m.Pods, p)
	case m.Set != "":
		return w.Sets[0].Nets[0].Contains(p.Address)
	case len(m.Nets) > 0:
		return m.Nets[0].Contains(p.Address)
	}
	return true
}
