// Package network decides, without a cluster, which connections NetworkPolicies let through.
package network

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Peer is one end of a connection: a pod; with no Namespace a machine; or with neither an address outside.
// Pods with hostNetwork are their machine: no policy tells them from it.
type Peer struct {
	Name, Namespace string
	Labels          map[string]string
	NamespaceLabels map[string]string
	Address         netip.Addr
	// Ports are the named ports of a pod.
	Ports map[string]int32

	// Machine is where a pod runs, or what the peer is, and Role that machine's.
	Machine string
	Role    v1alpha1.Role
	// MachineAddress is that of a pod's machine. Tunnel is a machine's within the pods' network.
	MachineAddress, Tunnel netip.Addr
}

func (p Peer) isPod() bool  { return p.Namespace != "" }
func (p Peer) isHost() bool { return p.Namespace == "" && p.Machine != "" }

// machine is where a pod runs.
func (p Peer) machine() Peer {
	return Peer{Name: p.Machine, Machine: p.Machine, Role: p.Role, Address: p.MachineAddress}
}

// String is how people call it: shop/web-1, worker-0, 192.0.2.7.
func (p Peer) String() string {
	switch {
	case p.isPod():
		return p.Namespace + "/" + p.Name
	case p.Name != "":
		return p.Name
	}
	return p.Address.String()
}

// Port is what is connected to.
type Port struct {
	Protocol corev1.Protocol `json:"protocol"`
	Number   int32           `json:"number"`
}

// String is 8080/TCP.
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, p.Protocol) }

// Allowed says whether policies let from open a connection to a port of to, and which of them decides.
// The rules are those of https://kubernetes.io/docs/concepts/services-networking/network-policies: a pod that no policy
// selects for a direction is open in it; of those that select it, any may allow; both ends must agree.
// A malformed policy is an error.
func Allowed(policies []networkingv1.NetworkPolicy, from, to Peer, port Port) (bool, string, error) {
	out, err := direction(policies, networkingv1.PolicyTypeEgress, from, to, to, port)
	if err != nil || !out.allowed {
		return false, out.String(), err
	}
	in, err := direction(policies, networkingv1.PolicyTypeIngress, to, from, to, port)
	return in.allowed, out.String() + ", " + in.String(), err
}

// verdict is what NetworkPolicies say for one end. Without a policy, none selects the pod, and it is open.
type verdict struct {
	way         networkingv1.PolicyType
	allowed     bool
	policy, why string
}

func (v verdict) String() string {
	switch {
	case v.policy == "":
		return fmt.Sprintf("%s open: no policy selects the pod", v.way)
	case v.allowed:
		return fmt.Sprintf("%s allowed by %s", v.way, v.policy)
	}
	return fmt.Sprintf("%s refused: %s selects the pod and no policy allows it", v.way, v.policy)
}

// direction decides for one end: self is the pod that policies select, other whoever it talks to.
func direction(policies []networkingv1.NetworkPolicy, way networkingv1.PolicyType, self, other, target Peer, port Port) (verdict, error) {
	v := verdict{way: way, allowed: true}
	for i := range policies {
		p := &policies[i]
		applies, err := selects(p, way, self)
		if err != nil {
			return verdict{}, fmt.Errorf("NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
		}
		if !applies {
			continue
		}
		v.allowed, v.policy = false, p.Namespace+"/"+p.Name
		for n, r := range rulesOf(p, way) {
			ok, err := r.allows(p.Namespace, other, target, port)
			if err != nil {
				return verdict{}, fmt.Errorf("NetworkPolicy %s: %w", v.policy, err)
			}
			if ok {
				v.allowed, v.why = true, fmt.Sprintf("rule %d of %s", n+1, strings.ToLower(string(way)))
				return v, nil
			}
		}
	}
	return v, nil
}

func selects(p *networkingv1.NetworkPolicy, way networkingv1.PolicyType, pod Peer) (bool, error) {
	if !pod.isPod() || p.Namespace != pod.Namespace || !hasType(p, way) {
		return false, nil
	}
	return matches(&p.Spec.PodSelector, pod.Labels)
}

// hasType applies the API's default: Ingress always, Egress if there are egress rules.
func hasType(p *networkingv1.NetworkPolicy, way networkingv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) == 0 {
		return way == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
	}
	for _, t := range p.Spec.PolicyTypes {
		if t == way {
			return true
		}
	}
	return false
}

// rule is an ingress or egress rule: the two differ in the names of their fields only.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rulesOf(p *networkingv1.NetworkPolicy, way networkingv1.PolicyType) []rule {
	var out []rule
	if way == networkingv1.PolicyTypeIngress {
		for _, r := range p.Spec.Ingress {
			out = append(out, rule{r.From, r.Ports})
		}
		return out
	}
	for _, r := range p.Spec.Egress {
		out = append(out, rule{r.To, r.Ports})
	}
	return out
}

// allows: an empty list of peers or ports stands for all of them.
func (r rule) allows(namespace string, other, target Peer, port Port) (bool, error) {
	peer, open := len(r.peers) == 0, len(r.ports) == 0
	for i := range r.peers {
		ok, err := isPeer(&r.peers[i], namespace, other)
		if err != nil {
			return false, err
		}
		peer = peer || ok
	}
	for i := range r.ports {
		open = open || isPort(&r.ports[i], target, port)
	}
	return peer && open, nil
}

func isPeer(p *networkingv1.NetworkPolicyPeer, namespace string, other Peer) (bool, error) {
	if p.IPBlock != nil {
		return inBlock(p.IPBlock, other.Address)
	}
	if !other.isPod() {
		return false, nil
	}
	if p.NamespaceSelector == nil {
		if other.Namespace != namespace {
			return false, nil
		}
	} else if ok, err := matches(p.NamespaceSelector, other.NamespaceLabels); !ok || err != nil {
		return false, err
	}
	if p.PodSelector == nil {
		return true, nil
	}
	return matches(p.PodSelector, other.Labels)
}

func inBlock(b *networkingv1.IPBlock, address netip.Addr) (bool, error) {
	within, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !within.Contains(address) {
		return false, err
	}
	for _, except := range b.Except {
		hole, err := netip.ParsePrefix(except)
		if err != nil || hole.Contains(address) {
			return false, err
		}
	}
	return true, nil
}

func isPort(p *networkingv1.NetworkPolicyPort, target Peer, port Port) bool {
	protocol := corev1.ProtocolTCP
	if p.Protocol != nil {
		protocol = *p.Protocol
	}
	if protocol != port.Protocol {
		return false
	}
	switch {
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.String:
		number, ok := target.Ports[p.Port.StrVal]
		return ok && number == port.Number
	case p.EndPort != nil:
		return p.Port.IntVal <= port.Number && port.Number <= *p.EndPort
	default:
		return p.Port.IntVal == port.Number
	}
}

func matches(s *metav1.LabelSelector, l map[string]string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(l)), nil
}
