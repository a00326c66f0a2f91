// Package network decides, without a cluster, which connections NetworkPolicies let through.
package network

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Peer is one end of a connection: a pod, or with no Namespace an address outside the cluster.
type Peer struct {
	Name, Namespace string
	Labels          map[string]string
	NamespaceLabels map[string]string
	Address         netip.Addr
	// Ports are the named ports of a pod.
	Ports map[string]int32
}

// Port is what is connected to.
type Port struct {
	Protocol corev1.Protocol
	Number   int32
}

// Allowed says whether policies let from open a connection to a port of to, and which of them decides.
// The rules are those of https://kubernetes.io/docs/concepts/services-networking/network-policies: a pod that no policy
// selects for a direction is open in it; of those that select it, any may allow; both ends must agree.
// A malformed policy is an error.
func Allowed(policies []networkingv1.NetworkPolicy, from, to Peer, port Port) (bool, string, error) {
	ok, why, err := direction(policies, networkingv1.PolicyTypeEgress, from, to, to, port)
	if err != nil || !ok {
		return false, why, err
	}
	ok, in, err := direction(policies, networkingv1.PolicyTypeIngress, to, from, to, port)
	return ok, why + ", " + in, err
}

// direction decides for one end: self is the pod that policies select, other whoever it talks to.
func direction(policies []networkingv1.NetworkPolicy, way networkingv1.PolicyType, self, other, target Peer, port Port) (bool, string, error) {
	selected := ""
	for i := range policies {
		p := &policies[i]
		applies, err := selects(p, way, self)
		if err != nil {
			return false, "", fmt.Errorf("NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
		}
		if !applies {
			continue
		}
		selected = p.Namespace + "/" + p.Name
		for _, r := range rulesOf(p, way) {
			ok, err := r.allows(p.Namespace, other, target, port)
			if err != nil {
				return false, "", fmt.Errorf("NetworkPolicy %s: %w", selected, err)
			}
			if ok {
				return true, fmt.Sprintf("%s allowed by %s", way, selected), nil
			}
		}
	}
	if selected != "" {
		return false, fmt.Sprintf("%s refused: %s selects the pod and no policy allows it", way, selected), nil
	}
	return true, fmt.Sprintf("%s open: no policy selects the pod", way), nil
}

func selects(p *networkingv1.NetworkPolicy, way networkingv1.PolicyType, pod Peer) (bool, error) {
	if pod.Namespace == "" || p.Namespace != pod.Namespace || !hasType(p, way) {
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
	if other.Namespace == "" {
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
