package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Metadata is where clouds answer any machine with its credentials.
var Metadata = netip.MustParsePrefix("169.254.169.254/32")

// The order in which policies are asked; Calico's own of Kubernetes' NetworkPolicies is OrderKubernetes. The first whose rule
// matches decides. If there are some for a pod and a direction, and no rule matches, the answer is no.
const (
	OrderMetadata   = 10.0
	OrderMachines   = 50.0
	OrderKubernetes = 1000.0
	OrderRules      = 1500.0
	OrderDefault    = 2000.0
)

// Compile turns a valid policy into what enforces it.
func Compile(policy v1alpha1.NetworkPolicy, facts Facts) (Compiled, error) {
	c := compiler{policy: policy, facts: facts}
	c.closed = &PodSelector{NotNamespaces: policy.Open}
	for _, set := range policy.Sets {
		nets, err := prefixes(set.CIDRs)
		if err != nil {
			return Compiled{}, fmt.Errorf("set %s: %w", set.Name, err)
		}
		c.out.Sets = append(c.out.Sets, Set{set.Name, nets})
	}
	for _, w := range facts.Workers {
		c.out.Hosts = append(c.out.Hosts, Host{w, HostInterface})
	}
	c.metadata()
	c.machines()
	for _, rule := range policy.Rules {
		if err := c.rule(rule); err != nil {
			return Compiled{}, fmt.Errorf("rule %s: %w", rule.Name, err)
		}
	}
	c.defaults()
	slices.SortStableFunc(c.out.Global, func(a, b Global) int { return int(a.Order - b.Order) })
	return c.out, nil
}

type compiler struct {
	policy v1alpha1.NetworkPolicy
	facts  Facts
	closed *PodSelector // pods of all namespaces that are not open
	out    Compiled
}

func (c *compiler) global(g Global) { c.out.Global = append(c.out.Global, g) }

// metadata refuses the address, twice: to pods by a policy of their own, and by one of the machine that they are on. The
// second is also for the pods of open namespaces, which must have no policy, and for the machine itself with its hostNetwork pods.
func (c *compiler) metadata() {
	to := Match{Nets: []netip.Prefix{Metadata}}
	var rules []GlobalRule
	for _, p := range c.policy.Metadata {
		rules = append(rules, GlobalRule{Action: Allow, Source: Match{Pods: pods(p)}, Destination: to})
	}
	deny := GlobalRule{Action: Deny, Destination: to}
	forPods := append(slices.Clone(rules), deny)
	c.global(Global{Name: Prefix + "metadata", Order: OrderMetadata, Pods: c.closed, Egress: &forPods})
	if c.policy.MetadataFromHosts {
		deny.Source.Nets = []netip.Prefix{c.facts.PodCIDR}
	}
	forHosts := append(rules, deny)
	c.global(Global{Name: Prefix + "hosts.metadata", Order: OrderMetadata, Hosts: true, Egress: &forHosts, ApplyOnForward: true})
}

// machines keeps pods from the machines, whatever their own policies allow: all but the API's port at the load balancer.
func (c *compiler) machines() {
	balancer := netip.PrefixFrom(c.facts.APIServer.Addr(), 32)
	api := []PortRange{{c.facts.APIServer.Port(), c.facts.APIServer.Port()}}
	refused := func(from Match) *[]GlobalRule {
		return &[]GlobalRule{
			{Action: Deny, Source: from, Destination: Match{Nets: []netip.Prefix{c.facts.MachineCIDR}, NotNets: []netip.Prefix{balancer}}},
			{Action: Deny, NotProtocol: v1alpha1.ProtocolTCP, Source: from, Destination: Match{Nets: []netip.Prefix{balancer}}},
			{Action: Deny, Protocol: v1alpha1.ProtocolTCP, Source: from, Destination: Match{Nets: []netip.Prefix{balancer}, NotPorts: api}},
		}
	}
	c.global(Global{Name: Prefix + "machines", Order: OrderMachines, Pods: c.closed, Egress: refused(Match{})})
	c.global(Global{Name: Prefix + "hosts.machines", Order: OrderMachines, Hosts: true, ApplyOnForward: true,
		Egress: refused(Match{Nets: []netip.Prefix{c.facts.PodCIDR}})})
}

// defaults end the list: pods may ask the cluster's DNS and nothing else; of machines, the network between them decides.
func (c *compiler) defaults() {
	dns := Match{Pods: &PodSelector{Namespace: "kube-system", PodLabels: map[string]string{"k8s-app": "kube-dns"}}, Ports: []PortRange{{53, 53}}}
	c.global(Global{Name: Prefix + "default", Order: OrderDefault, Pods: c.closed, Ingress: &[]GlobalRule{}, Egress: &[]GlobalRule{
		{Action: Allow, Protocol: v1alpha1.ProtocolUDP, Destination: dns},
		{Action: Allow, Protocol: v1alpha1.ProtocolTCP, Destination: dns},
	}})
	all := []GlobalRule{{Action: Allow}}
	c.global(Global{Name: Prefix + "hosts.default", Order: OrderDefault, Hosts: true, Ingress: &all, Egress: &all, ApplyOnForward: true})
}

// rule opens both ends, as far as they are pods. Pods of open namespaces have no policy that could be in the way.
func (c *compiler) rule(r v1alpha1.NetworkRule) error {
	if !r.From.IsPods() && !r.To.IsPods() {
		return errors.New("neither end is pods, and policy is of pods only")
	}
	r.From, r.To = c.outside(r.From), c.outside(r.To)
	if named(r.From) && named(r.To) {
		return c.kubernetes(r)
	}
	from, err := c.match(r.From)
	if err != nil {
		return err
	}
	to, err := c.match(r.To)
	if err != nil {
		return err
	}
	rules := func() *[]GlobalRule {
		var out []GlobalRule
		for _, p := range c.protocols(r) {
			to := to
			to.Ports = p.ports
			out = append(out, GlobalRule{Action: Allow, Protocol: p.name, Source: from, Destination: to})
		}
		return &out
	}
	if r.From.IsPods() {
		c.global(Global{Name: Prefix + "rule." + r.Name + ".egress", Order: OrderRules, Pods: c.ofClosed(r.From), Egress: rules()})
	}
	if r.To.IsPods() {
		c.global(Global{Name: Prefix + "rule." + r.Name + ".ingress", Order: OrderRules, Pods: c.ofClosed(r.To), Ingress: rules()})
	}
	return nil
}

// outside takes the cluster's own ranges out of wider ones: pods are meant by their labels, and "everywhere" is the world.
func (c *compiler) outside(p v1alpha1.NetworkPeer) v1alpha1.NetworkPeer {
	p.Except = slices.Clone(p.Except)
	for _, own := range []netip.Prefix{c.facts.PodCIDR, c.facts.ServiceCIDR, c.facts.MachineCIDR} {
		in := func(s string) bool { return inside(own.String(), s) }
		if slices.ContainsFunc(p.CIDRs, in) && !slices.ContainsFunc(p.Except, in) {
			p.Except = append(p.Except, own.String())
		}
	}
	return p
}

// named peers are those that Kubernetes' NetworkPolicies can be placed for, or can name.
func named(p v1alpha1.NetworkPeer) bool {
	if p.IsPods() {
		return p.Namespace != "" && p.Namespace != v1alpha1.EveryNamespace
	}
	return p.Set == ""
}

func pods(p v1alpha1.NetworkPeer) *PodSelector {
	s := &PodSelector{Namespace: p.Namespace, NamespaceLabels: p.NamespaceLabels, PodLabels: p.PodLabels}
	if s.Namespace == v1alpha1.EveryNamespace {
		s.Namespace = ""
	}
	return s
}

func (c *compiler) ofClosed(p v1alpha1.NetworkPeer) *PodSelector {
	s := pods(p)
	s.NotNamespaces = c.policy.Open
	return s
}

func (c *compiler) match(p v1alpha1.NetworkPeer) (m Match, err error) {
	switch {
	case p.IsPods():
		m.Pods = pods(p)
	case p.Set != "":
		if !slices.ContainsFunc(c.policy.Sets, func(s v1alpha1.AddressSet) bool { return s.Name == p.Set }) {
			return m, fmt.Errorf("there is no set %s", p.Set)
		}
		m.Set = p.Set
	case p.API:
		m.Nets = []netip.Prefix{netip.PrefixFrom(c.facts.APIServer.Addr(), 32)}
	case len(p.CIDRs) > 0:
		if m.Nets, err = prefixes(p.CIDRs); err == nil {
			m.NotNets, err = prefixes(p.Except)
		}
	default:
		err = errors.New("an end is nobody")
	}
	return m, err
}

// protocol is the ports of one protocol, none for all; without a name it is every protocol.
type protocol struct {
	name  string
	ports []PortRange
}

func (c *compiler) protocols(r v1alpha1.NetworkRule) []protocol {
	if r.To.API {
		return []protocol{{v1alpha1.ProtocolTCP, []PortRange{{c.facts.APIServer.Port(), c.facts.APIServer.Port()}}}}
	}
	if len(r.Ports) == 0 {
		return []protocol{{}}
	}
	var out []protocol
	for _, name := range []string{v1alpha1.ProtocolTCP, v1alpha1.ProtocolUDP, v1alpha1.ProtocolSCTP} {
		p, all, some := protocol{name: name}, false, false
		for _, port := range r.Ports {
			if port.Protocol == name {
				some, all = true, all || port.Port == 0
				p.ports = append(p.ports, PortRange{uint16(port.Port), uint16(max(port.Port, port.EndPort))})
			}
		}
		if all {
			p.ports = nil
		}
		if some {
			out = append(out, p)
		}
	}
	return out
}

func prefixes(cidrs []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
