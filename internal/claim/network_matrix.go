package claim

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/observe"
)

// stages are all open; then each end alone decides, so that neither hides what the other lets through. The servers' end names
// ranges of addresses, too: at one more port all pods are let in but one.
func (p *peers) stages(podCIDR string) []stage {
	open := networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, Egress: []networkingv1.NetworkPolicyEgressRule{{}}}
	block := &networkingv1.IPBlock{CIDR: podCIDR, Except: []string{netip.PrefixFrom(p.excepted, p.excepted.BitLen()).String()}}
	fromClient := func(from, to network.Peer, port network.Port) bool {
		return from.Namespace == p.clients && to.Namespace == p.servers && slices.Contains(portsDeclare, port)
	}
	return []stage{
		{"everything is allowed", open, open, func(_, _ network.Peer, port network.Port) bool { return true }},
		{"egress declares", networkingv1.NetworkPolicySpec{Ingress: open.Ingress,
			Egress: []networkingv1.NetworkPolicyEgressRule{{To: peer(p.servers, serverLabel), Ports: declaredPorts()}}}, open,
			func(from, to network.Peer, port network.Port) bool {
				return from.Namespace != p.clients || fromClient(from, to, port)
			}},
		{"ingress declares", open, networkingv1.NetworkPolicySpec{Egress: open.Egress, Ingress: []networkingv1.NetworkPolicyIngressRule{
			{From: peer(p.clients, clientLabel), Ports: declaredPorts()},
			{From: []networkingv1.NetworkPolicyPeer{{IPBlock: block}}, Ports: []networkingv1.NetworkPolicyPort{policyPort(portElse)}}}},
			func(from, to network.Peer, port network.Port) bool {
				return to.Namespace == p.clients || fromClient(from, to, port) || port == portElse && from.Address != p.excepted
			}},
	}
}

func peer(namespace string, labels map[string]string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: labels},
	}}
}

// declaredPorts are a port by its name, a range, and one of UDP and of SCTP each.
func declaredPorts() []networkingv1.NetworkPolicyPort {
	named, several, last := policyPort(portWeb), policyPort(portFirst), portLast.Number
	name := intstr.FromString("web")
	named.Port, several.EndPort = &name, &last
	return []networkingv1.NetworkPolicyPort{named, several, policyPort(portUDP), policyPort(portSCTP)}
}

func policyPort(p network.Port) networkingv1.NetworkPolicyPort {
	protocol, port := p.Protocol, intstr.FromInt32(p.Number)
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &port}
}

// connections are all cells: each pod to each other at each port, and by the Service; each worker to each pod; each pod to each worker.
func (p *peers) connections(in *network.Inventory) []network.Connection {
	var pods, workers []network.Peer
	for _, pod := range in.Pods {
		if pod.Namespace == p.clients || pod.Namespace == p.servers {
			pods = append(pods, pod.Peer)
		}
	}
	for _, m := range in.Machines {
		if m.Role == v1alpha1.RoleWorker {
			workers = append(workers, m)
		}
	}
	var out []network.Connection
	add := func(from, to network.Peer, ports ...network.Port) {
		for _, port := range ports {
			if from.Address != to.Address {
				out = append(out, network.Connection{From: from, To: to, Port: port, Address: netip.AddrPortFrom(to.Address, uint16(port.Number))})
			}
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			add(from, to, portsOfPods...)
		}
		for _, w := range workers {
			add(from, w, portOfNode)
			add(w, from, portWeb)
		}
	}
	return append(out, p.byService(in, pods)...)
}

// byService: the servers' Service, from the clients. Its balancing meets every server in time; each is let reach, or none.
func (p *peers) byService(in *network.Inventory, pods []network.Peer) []network.Connection {
	var out []network.Connection
	for _, s := range in.Services {
		if s.Namespace != p.servers {
			continue
		}
		for _, from := range pods {
			for _, sp := range s.Ports {
				c := network.Connection{From: from, Service: s.Namespace + "/" + s.Name, Port: sp.Port, Address: netip.AddrPortFrom(s.Address, uint16(sp.Port.Number))}
				for _, to := range pods {
					if to.Namespace == p.servers {
						c.To = to
						c.Backends = append(c.Backends, network.Target{Peer: to, Port: sp.Port})
					}
				}
				if from.Namespace == p.clients {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// declared says what must be: what the stage says of pods, and always that a machine reaches its own pods, which do not reach it.
func (s *stage) says(c *network.Connection, p *peers) bool {
	ours := func(e network.Peer) bool { return e.Namespace == p.clients || e.Namespace == p.servers }
	switch {
	case ours(c.From) && ours(c.To):
		return s.declared(c.From, c.To, c.Port)
	case c.From.Machine == c.To.Machine:
		return ours(c.To)
	case ours(c.To): // a machine, at another's pod: as anybody with an address of the pods' network
		machine := c.From
		machine.Address = c.From.Tunnel
		return s.declared(machine, c.To, c.Port)
	}
	return false
}

// cells makes evidence of what was simulated and what was observed.
func (p *peers) cells(survey *observe.Survey, s stage, file *network.Declaration) []Evidence {
	var out []Evidence
	expect := func(ok bool) Expectation {
		if ok {
			return Allowed
		}
		return Refused
	}
	for i := range survey.Connections {
		c, f := &survey.Connections[i], &survey.Found[i]
		as := "machine"
		if c.From.Namespace != "" {
			as = "pod " + c.From.Name
		}
		want := expect(s.says(c, p) || file.Ruled(c.From, c.To, c.Port)) // a rule for every namespace means these, too
		e := Evidence{Attempt: "connect " + c.String() + " while " + s.when, From: c.From.Machine, As: as, Want: want, Got: expect(f.Observed == network.Yes), Answer: f.Answer}
		switch {
		case f.Observed == network.Unknown:
			e.Got, e.Answer = "", "nothing was observed"
		case f.Simulated != network.Yes && f.Simulated != network.No || expect(f.Simulated == network.Yes) != want:
			e.Attempt, e.Got, e.Answer = "simulate "+c.String()+" while "+s.when, expect(want != Allowed), f.Why
		}
		out = append(out, e)
	}
	return out
}
