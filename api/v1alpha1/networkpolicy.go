package v1alpha1

import "slices"

// NetworkPolicy is what pods may reach, and who may reach them, beyond what users allow by NetworkPolicies of their own.
// What neither declares is refused, both ways, but for DNS.
type NetworkPolicy struct {
	// Open are namespaces without a default: their pods talk to whom they like and are reached by all, save what a
	// NetworkPolicy of their own or the other end's policy refuses, other machines and the metadata address.
	Open []OpenNamespaces `json:"open,omitzero"`
	// Sets are named groups of addresses, for rules to name.
	Sets []AddressSet `json:"sets,omitzero"`
	// Rules are the connections that are allowed.
	Rules []NetworkRule `json:"rules,omitzero"`
	// Metadata are the pods that may reach 169.254.169.254, where clouds keep the credentials of machines.
	Metadata []NetworkPeer `json:"metadata,omitzero"`
	// MetadataFromHosts lets workers themselves reach it, and pods with hostNetwork, which cannot be told from them.
	MetadataFromHosts bool `json:"metadataFromHosts,omitempty"`
}

// OpenNamespaces are namespaces, by their name or by their labels: exactly one of both.
type OpenNamespaces struct {
	// Namespace is the name of one.
	Namespace string `json:"namespace,omitempty"`
	// Labels are what every such namespace has. Whoever may label a namespace so, opens it.
	Labels map[string]string `json:"labels,omitzero"`
}

// AddressSet is a named group of addresses.
type AddressSet struct {
	// Name is a DNS label, unique among the sets.
	Name string `json:"name"`
	// CIDRs are its IPv4 ranges, none within another.
	CIDRs []string `json:"cidrs"`
}

// NetworkRule is one allowed way of connecting. It opens the source's egress and the destination's ingress, where these are pods.
type NetworkRule struct {
	// Name is a DNS label, unique among the rules. `ashlar network why` names the rule that decides by it.
	Name string `json:"name"`
	// From are those who connect.
	From NetworkPeer `json:"from"`
	// To are those who are connected to. Pods behind a Service are meant as themselves: policy sees their addresses and ports.
	To NetworkPeer `json:"to"`
	// Ports that are connected to. Left out: all, of every protocol.
	Ports []NetworkPort `json:"ports,omitzero"`
}

// NetworkPeer is one end of a rule, of exactly one kind: pods (namespace, namespaceLabels, podLabels), ranges of addresses
// (cidrs, except), a set of them (set), or the API servers (api).
type NetworkPeer struct {
	// Namespace is the one that the pods are in; "*" is all.
	Namespace string `json:"namespace,omitempty"`
	// NamespaceLabels are what the pods' namespaces have, instead of a name.
	NamespaceLabels map[string]string `json:"namespaceLabels,omitzero"`
	// PodLabels are what the pods have. Left out: every pod there.
	PodLabels map[string]string `json:"podLabels,omitzero"`
	// CIDRs are IPv4 ranges. Of one that has the cluster's own in it, such as 0.0.0.0/0, those are not meant.
	CIDRs []string `json:"cidrs,omitzero"`
	// Except are ranges within the CIDRs that are not meant.
	Except []string `json:"except,omitzero"`
	// Set is the name of one of spec.network.policy.sets.
	Set string `json:"set,omitempty"`
	// API is the API servers, at their load balancer: only as the end that is connected to.
	API bool `json:"api,omitempty"`
}

// NetworkPort is a port, or a range of them, of one protocol.
type NetworkPort struct {
	// Protocol is TCP, UDP or SCTP. Left out: TCP.
	Protocol string `json:"protocol,omitempty"`
	// Port is its number. Left out: all of the protocol's.
	Port int `json:"port,omitempty"`
	// EndPort is the last of a range that begins at port.
	EndPort int `json:"endPort,omitempty"`
}

// Protocols of ports.
const (
	ProtocolTCP  = "TCP"
	ProtocolUDP  = "UDP"
	ProtocolSCTP = "SCTP"
)

// EveryNamespace is the namespace of a peer that is in whichever.
const EveryNamespace = "*"

// IsPods says whether the peer is of the kind that has namespaces and labels.
func (p NetworkPeer) IsPods() bool {
	return p.Namespace != "" || p.NamespaceLabels != nil || p.PodLabels != nil
}

// Opens says whether a namespace is declared open.
func (p NetworkPolicy) Opens(namespace string, labels map[string]string) bool {
	return slices.ContainsFunc(p.Open, func(o OpenNamespaces) bool { return o.Has(namespace, labels) })
}

// Has says whether a namespace is one of these.
func (o OpenNamespaces) Has(namespace string, labels map[string]string) bool {
	if o.Namespace != "" {
		return o.Namespace == namespace
	}
	for key, want := range o.Labels {
		if have, ok := labels[key]; !ok || have != want {
			return false
		}
	}
	return len(o.Labels) > 0
}
