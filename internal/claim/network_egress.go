package claim

import (
	"context"
	"errors"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

var netEgress = Claim{
	ID:    "net-egress",
	Says:  "A Pod's network access should be as limited as possible. While NetworkPolicy only restricts ingress traffic for Pods, the outgoing traffic should be limited as well",
	Holds: "pods reach the destinations outside that are declared for their labels, and no other address or port",
	Probe: probeNetworkEgress,
}

// The servers outside; pods with the label may go to the first.
const (
	egressDeclared   = 8490
	egressUndeclared = 8491
)

func probeNetworkEgress(ctx context.Context, t *Target) (found []Evidence, problem error) {
	s, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	outside := map[int]string{}
	for _, port := range []int{egressDeclared, egressUndeclared} {
		server, stop, err := s.serveMirror(ctx, provider.FromInternet, fmt.Sprintf(":%d", port))
		if err != nil {
			return nil, err
		}
		outside[port] = server
		defer func() { problem = errors.Join(problem, stop()) }()
	}
	host, _, err := net.SplitHostPort(outside[egressDeclared])
	if err != nil {
		return nil, err
	}
	label := map[string]string{"egress": "declared"}
	namespace, remove, err := s.namespace(ctx, toOutside(label, host))
	if err != nil {
		return nil, err
	}
	defer remove()
	var contacts []contact
	var all []wanted
	for _, w := range s.Desired.WithRole(v1alpha1.RoleWorker) {
		all = append(all, wanted{name: "declared-" + w.Name, node: w.Name, labels: label}, wanted{name: "undeclared-" + w.Name, node: w.Name})
		// What is refused to pods is there, and the way to it is open.
		contacts = append(contacts, contact{what: "connect to " + outside[egressUndeclared] + " on the internet", machine: w.Name,
			address: outside[egressUndeclared], want: Allowed})
	}
	pods, err := s.pods(ctx, namespace, all)
	if err != nil {
		return nil, err
	}
	for i, pod := range pods {
		for port, address := range outside {
			c := contact{what: "connect to " + address + " on the internet", from: pod, address: address, want: Refused}
			if all[i].labels != nil && port == egressDeclared {
				c.want = Allowed
			}
			contacts = append(contacts, c)
		}
	}
	return s.settle(ctx, contacts)
}

// toOutside lets pods with labels go to one port of one address, and their whole namespace nowhere else.
func toOutside(labels map[string]string, host string) networkingv1.NetworkPolicySpec {
	tcp, port := corev1.ProtocolTCP, intstr.FromInt32(egressDeclared)
	return networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: labels},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{{
			To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: host + "/32"}}},
			Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &port}}}}}
}
