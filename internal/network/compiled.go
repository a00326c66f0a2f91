package network

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Prefix begins the names of all that is compiled, so that what is not declared any more is found by it.
const Prefix = "ashlar."

// Facts are what a policy is compiled for.
type Facts struct {
	PodCIDR, ServiceCIDR, MachineCIDR netip.Prefix
	// APIServer is the load balancer's.
	APIServer netip.AddrPort
	Workers   []Worker
}

// Worker is a machine that runs pods.
type Worker struct {
	Name    string
	Address netip.Addr
}

// Compiled is a policy as what enforces it: Kubernetes' NetworkPolicies where they suffice, and Calico's where they do not.
type Compiled struct {
	// Kubernetes are for the namespaces that they name, once these exist, unless they are open: there they would close what
	// they select.
	Kubernetes []networkingv1.NetworkPolicy
	Global     []Global
	Sets       []Set
	Hosts      []Host
}

// Global is a policy of Calico's that is of no namespace.
type Global struct {
	Name  string
	Order float64
	// Pods or Hosts is whom it is for.
	Pods  *PodSelector
	Hosts bool
	// Ingress and Egress: nil says nothing of that way; with an empty list, what nothing later allows is refused.
	Ingress, Egress *[]GlobalRule
	// ApplyOnForward: it is also for what passes through the host, of pods.
	ApplyOnForward bool
}

// Action is what a rule does with what it matches.
type Action string

// The actions.
const (
	Allow Action = "Allow"
	Deny  Action = "Deny"
)

// GlobalRule matches packets by all that it says.
type GlobalRule struct {
	Action Action
	// Protocol is TCP, UDP or SCTP; empty is any, ICMP included. NotProtocol is any but this.
	Protocol, NotProtocol string
	Source, Destination   Match
}

// Match is one end of a packet. What is empty matches everything.
type Match struct {
	Pods          *PodSelector
	Set           string
	Nets, NotNets []netip.Prefix
	// Ports of the rule's protocol; NotPorts are all but these.
	Ports, NotPorts []PortRange
}

// PortRange has both its ends.
type PortRange struct{ First, Last uint16 }

// PodSelector selects pods by all that it says.
type PodSelector struct {
	Namespace                  string // empty is every namespace
	NamespaceLabels, PodLabels map[string]string
	NotNamespaces              []v1alpha1.OpenNamespaces
}

// Set is a named group of addresses.
type Set struct {
	Name string
	Nets []netip.Prefix
}

// Host is a machine's way to the others, as something that policies are for.
type Host struct {
	Worker
	Interface string
}

// HostInterface is the one that a machine has.
const HostInterface = "eth0"

// Matches says whether the selector is of a pod.
func (s PodSelector) Matches(namespace string, namespaceLabels, podLabels map[string]string) bool {
	return (s.Namespace == "" || s.Namespace == namespace) && within(s.NamespaceLabels, namespaceLabels) && within(s.PodLabels, podLabels) &&
		!v1alpha1.NetworkPolicy{Open: s.NotNamespaces}.Opens(namespace, namespaceLabels)
}

func within(want, have map[string]string) bool {
	for key, value := range want {
		if v, ok := have[key]; !ok || v != value {
			return false
		}
	}
	return true
}
