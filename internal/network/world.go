package network

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// World is all that decides who reaches whom: the policies of users and of the cluster, and what lies between machines.
type World struct {
	// Policies are Kubernetes' own, of all namespaces.
	Policies []networkingv1.NetworkPolicy
	Global   []Global
	Sets     []Set
	// Hosts are the machines that have a host endpoint.
	Hosts []Host
	// Between says whether what lies between machines lets one open a connection to another, or to an address outside, and why.
	Between func(from, to Peer, port Port) (bool, string)
}

// Step is one of the places that a connection passes, and who decides there.
type Step struct {
	// Where is for example "egress of shop/web".
	Where   string `json:"where"`
	Allowed bool   `json:"allowed"`
	// Policy is what decides: a policy and its rule; empty where none does.
	Policy string `json:"policy,omitempty"`
	Why    string `json:"why"`
}

func (s Step) String() string {
	verb := "refused"
	if s.Allowed {
		verb = "allowed"
	}
	if s.Policy == "" {
		return fmt.Sprintf("%s: %s, %s", s.Where, verb, s.Why)
	}
	return fmt.Sprintf("%s: %s by %s, %s", s.Where, verb, s.Policy, s.Why)
}

// Decision is the way of a connection, to where it is refused or to its end.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Steps   []Step `json:"steps"`
}

func (d Decision) String() string {
	var all []string
	for _, s := range d.Steps {
		all = append(all, s.String())
	}
	return strings.Join(all, "; ")
}

// Last is what decided.
func (d Decision) Last() Step {
	if len(d.Steps) == 0 {
		return Step{}
	}
	return d.Steps[len(d.Steps)-1]
}

// Decide follows a connection from one end to the other, as packets go through felix' rules. A malformed policy is an error.
func (w *World) Decide(from, to Peer, port Port) (Decision, error) {
	var d Decision
	for _, next := range w.way(from, to) {
		step, err := next(port)
		if err != nil {
			return Decision{}, err
		}
		d.Steps = append(d.Steps, step)
		if !step.Allowed {
			return d, nil
		}
	}
	d.Allowed = true
	return d, nil
}

// gate is a place that a connection passes.
type gate func(Port) (Step, error)

// way lists the gates of a connection.
func (w *World) way(from, to Peer) []gate {
	at := func(way networkingv1.PolicyType, self, other Peer) gate {
		return func(port Port) (Step, error) { return w.endpoint(way, self, other, to, port) }
	}
	always := func(ok bool, where, why string) gate {
		return func(Port) (Step, error) { return Step{Where: where, Allowed: ok, Why: why}, nil }
	}
	between := func(from Peer) gate {
		return func(port Port) (Step, error) {
			ok, why := w.Between(from, to, port)
			return Step{Where: "between " + from.String() + " and " + to.String(), Allowed: ok, Why: why}, nil
		}
	}
	egress, ingress := networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress
	sameMachine := from.Machine != "" && from.Machine == to.Machine
	switch {
	case from.Address == to.Address && from.Address.IsValid(), from.isHost() && to.isHost() && sameMachine:
		return []gate{always(true, from.String(), "it talks to itself")}
	case from.isPod() && to.isPod():
		return []gate{at(egress, from, to), at(ingress, to, from)}
	case from.isPod() && sameMachine:
		return []gate{at(egress, from, to), always(false, "machine "+to.Machine, "a pod has no business with its own machine")}
	case from.isPod():
		// Outside of the pods' network it is its machine that speaks.
		machine := from.machine()
		way := []gate{at(egress, from, to)}
		if w.hasHost(machine.Machine) {
			way = append(way, func(port Port) (Step, error) { return w.hostEndpoint(egress, machine, from, to, port, true), nil })
		}
		return append(way, between(machine), at(ingress, to, machine))
	case from.isHost() && to.isPod() && sameMachine:
		return []gate{always(true, "machine "+from.Machine, "a machine always reaches its own pods")}
	case from.isHost() && to.isPod() && from.Role == v1alpha1.RoleWorker:
		// It comes to the other machine from its address within the pods' network.
		inside := from
		inside.Address = from.Tunnel
		return []gate{at(ingress, to, inside)}
	case to.isPod():
		return []gate{always(false, from.String(), "only pods and workers have a way to pods")}
	}
	return []gate{at(egress, from, to), between(from), at(ingress, to, from)}
}
