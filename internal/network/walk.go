package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// endpoint decides for one end. An address outside has no policy.
func (w *World) endpoint(way networkingv1.PolicyType, self, other, target Peer, port Port) (Step, error) {
	switch {
	case self.isPod():
		return w.podEndpoint(way, self, other, target, port)
	case self.isHost() && w.hasHost(self.Machine):
		source, destination := ends(way, self, other)
		return w.hostEndpoint(way, self, source, destination, port, false), nil
	}
	return Step{Where: where(way, self), Allowed: true, Why: "no policy is about it"}, nil
}

func (w *World) hasHost(machine string) bool {
	return slices.ContainsFunc(w.Hosts, func(h Host) bool { return h.Name == machine })
}

// ends are source and destination of a connection, as seen from one end.
func ends(way networkingv1.PolicyType, self, other Peer) (source, destination Peer) {
	if way == networkingv1.PolicyTypeIngress {
		return other, self
	}
	return self, other
}

func where(way networkingv1.PolicyType, p Peer) string {
	return strings.ToLower(string(way)) + " of " + p.String()
}

// podEndpoint walks the policies that select a pod, by their order; Kubernetes' own stand together, at 1000.
func (w *World) podEndpoint(way networkingv1.PolicyType, self, other, target Peer, port Port) (Step, error) {
	step := Step{Where: where(way, self)}
	selected, asked := "", false
	source, destination := ends(way, self, other)
	kubernetes := func() (bool, error) {
		asked = true
		v, err := direction(w.Policies, way, self, other, target, port)
		if err != nil || v.policy == "" {
			return false, err
		}
		selected = "NetworkPolicy " + v.policy
		if v.allowed {
			step.Allowed, step.Policy, step.Why = true, selected, v.why
		}
		return v.allowed, nil
	}
	for _, g := range w.ordered() {
		if !asked && g.Order >= OrderKubernetes {
			if done, err := kubernetes(); done || err != nil {
				return step, err
			}
		}
		rules := g.rules(way)
		if g.Pods == nil || rules == nil || !g.Pods.selects(self) {
			continue
		}
		selected = "GlobalNetworkPolicy " + g.Name
		switch action, i := w.firstMatch(*rules, source, destination, port); action {
		case Allow, Deny:
			step.Allowed, step.Policy, step.Why = action == Allow, selected, fmt.Sprintf("rule %d of %s", i+1, strings.ToLower(string(way)))
			return step, nil
		}
	}
	if !asked {
		if done, err := kubernetes(); done || err != nil {
			return step, err
		}
	}
	if selected != "" {
		step.Policy, step.Why = selected, "which selects the pod, and no policy allows it"
		return step, nil
	}
	step.Allowed, step.Why = true, "no policy selects the pod"
	return step, nil
}

func (w *World) ordered() []Global {
	all := slices.Clone(w.Global)
	slices.SortStableFunc(all, func(a, b Global) int {
		if a.Order != b.Order {
			if a.Order < b.Order {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// hostEndpoint is the same for a machine, and for what it passes on for others.
func (w *World) hostEndpoint(way networkingv1.PolicyType, machine, source, destination Peer, port Port, forward bool) Step {
	step := Step{Where: where(way, machine)}
	if forward {
		step.Where += ", passed on"
	}
	selected := ""
	for _, g := range w.ordered() {
		rules := g.rules(way)
		if !g.Hosts || rules == nil || forward && !g.ApplyOnForward {
			continue
		}
		selected = "GlobalNetworkPolicy " + g.Name
		if action, i := w.firstMatch(*rules, source, destination, port); action == Allow || action == Deny {
			step.Allowed, step.Policy, step.Why = action == Allow, selected, fmt.Sprintf("rule %d of %s", i+1, strings.ToLower(string(way)))
			return step
		}
	}
	switch {
	case selected != "":
		step.Policy, step.Why = selected, "which selects the machine, and no policy allows it"
	case forward:
		step.Allowed, step.Why = true, "no policy is about what the machine forwards"
	default:
		step.Why = "the machine has a host endpoint, and no policy allows it"
	}
	return step
}

func (g *Global) rules(way networkingv1.PolicyType) *[]GlobalRule {
	if way == networkingv1.PolicyTypeEgress {
		return g.Egress
	}
	return g.Ingress
}

// firstMatch returns the action of the first rule that matches, and its index.
func (w *World) firstMatch(rules []GlobalRule, source, destination Peer, port Port) (Action, int) {
	for i, r := range rules {
		if protocolIs(r, port) && w.matchEnd(r.Source, source) && w.matchEnd(r.Destination, destination) && portIs(r.Destination, port) {
			return r.Action, i
		}
	}
	return "", -1
}

func protocolIs(r GlobalRule, port Port) bool {
	p := string(port.Protocol)
	return (r.Protocol == "" || r.Protocol == p) && (r.NotProtocol == "" || r.NotProtocol != p)
}

func portIs(m Match, port Port) bool {
	in := func(r PortRange) bool { return int32(r.First) <= port.Number && port.Number <= int32(r.Last) }
	return (len(m.Ports) == 0 || slices.ContainsFunc(m.Ports, in)) && !slices.ContainsFunc(m.NotPorts, in)
}

func (w *World) matchEnd(m Match, p Peer) bool {
	if m.Pods != nil && !m.Pods.selects(p) {
		return false
	}
	if m.Set != "" {
		i := slices.IndexFunc(w.Sets, func(s Set) bool { return s.Name == m.Set })
		if i < 0 || !contains(w.Sets[i].Nets, p.Address) {
			return false
		}
	}
	return (len(m.Nets) == 0 || contains(m.Nets, p.Address)) && !contains(m.NotNets, p.Address)
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// selects: nobody but pods is ever selected.
func (s *PodSelector) selects(p Peer) bool {
	return p.isPod() && s.Matches(p.Namespace, p.NamespaceLabels, p.Labels)
}
