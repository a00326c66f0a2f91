package network

import (
	"net/netip"
)

// Action is what a rule of a Global does with a connection that it matches.
type Action string

// The actions.
const (
	Allow Action = "Allow"
	Deny  Action = "Deny"
	Log   Action = "Log"
	Pass  Action = "Pass"
)

// Global is a policy that is no namespace's: Calico's GlobalNetworkPolicy.
type Global struct {
	Name  string
	Order float64
	// Pods are those that it is about; or Hosts: the host endpoints.
	Pods  *PodSelector
	Hosts bool
	// Ingress and Egress: nil says nothing of that way; empty: what nothing later allows is refused.
	Ingress, Egress *[]GlobalRule
	// ApplyOnForward: also to what a host passes on.
	ApplyOnForward bool
}

// GlobalRule is one rule of it; of several the first that matches decides.
type GlobalRule struct {
	Action              Action
	Protocol            string
	Source, Destination Match
}

// Match is what a rule asks of one end; empty fields ask nothing.
type Match struct {
	Pods          *PodSelector
	Set           string
	Nets, NotNets []netip.Prefix
	Ports         []PortRange
}

// PortRange is a range of ports, both ends in it.
type PortRange struct{ First, Last uint16 }

// PodSelector selects pods by namespace and labels.
type PodSelector struct {
	Namespace       string
	NamespaceLabels map[string]string
	PodLabels       map[string]string
	NotNamespaces   []NamespaceSelector
}

// NamespaceSelector is namespaces by name or by labels.
type NamespaceSelector struct {
	Name   string
	Labels map[string]string
}

// Set is a named group of addresses.
type Set struct {
	Name string
	Nets []netip.Prefix
}

// Host is a machine with a host endpoint.
type Host struct {
	Machine string
	Address netip.Addr
}

// Compiled is what a declaration becomes.
type Compiled struct {
	Global []Global
	Sets   []Set
	Hosts  []Host
}
