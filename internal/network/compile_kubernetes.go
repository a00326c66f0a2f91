package network

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// kubernetes renders a rule whose ends are named: a NetworkPolicy in the namespace of each that is pods.
func (c *compiler) kubernetes(r v1alpha1.NetworkRule) error {
	ports := c.policyPorts(r)
	place := func(at v1alpha1.NetworkPeer, way string, fill func(*networkingv1.NetworkPolicySpec)) {
		if !at.IsPods() || c.policy.Opens(at.Namespace, nil) {
			return
		}
		p := networkingv1.NetworkPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: metav1.ObjectMeta{Name: Prefix + r.Name + "." + way, Namespace: at.Namespace},
			Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: at.PodLabels}}}
		fill(&p.Spec)
		c.out.Kubernetes = append(c.out.Kubernetes, p)
	}
	place(r.From, "egress", func(s *networkingv1.NetworkPolicySpec) {
		s.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
		s.Egress = []networkingv1.NetworkPolicyEgressRule{{To: c.policyPeers(r.To), Ports: ports}}
	})
	place(r.To, "ingress", func(s *networkingv1.NetworkPolicySpec) {
		s.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		s.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: c.policyPeers(r.From), Ports: ports}}
	})
	return nil
}

func (c *compiler) policyPeers(p v1alpha1.NetworkPeer) []networkingv1.NetworkPolicyPeer {
	switch {
	case p.IsPods():
		return []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: p.Namespace}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: p.PodLabels}}}
	case p.API:
		return []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: c.facts.APIServer.Addr().String() + "/32"}}}
	}
	var out []networkingv1.NetworkPolicyPeer
	for _, cidr := range p.CIDRs {
		block := &networkingv1.IPBlock{CIDR: cidr}
		for _, e := range p.Except { // the API refuses one that is not within
			if inside(e, cidr) {
				block.Except = append(block.Except, e)
			}
		}
		out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: block})
	}
	return out
}

func (c *compiler) policyPorts(r v1alpha1.NetworkRule) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, p := range c.protocols(r) {
		if p.name == "" {
			return nil
		}
		protocol := corev1.Protocol(p.name)
		if p.ports == nil {
			out = append(out, networkingv1.NetworkPolicyPort{Protocol: &protocol})
		}
		for _, ports := range p.ports {
			first, last := intstr.FromInt32(int32(ports.First)), int32(ports.Last)
			port := networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &first}
			if last > int32(ports.First) {
				port.EndPort = &last
			}
			out = append(out, port)
		}
	}
	return out
}

func inside(inner, outer string) bool {
	p, err := prefixes([]string{inner, outer})
	return err == nil && p[1].Bits() <= p[0].Bits() && p[1].Contains(p[0].Addr())
}
