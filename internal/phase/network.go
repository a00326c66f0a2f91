package phase

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/observe"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// CompiledNetwork is what the file declares of pods, as the policies that enforce it. Without a cluster, for an example of one.
func CompiledNetwork(ctx context.Context, c *Cluster) (network.Compiled, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return network.Compiled{}, err
	}
	// Machines that have no address yet get the first ones, for example.
	next := netip.MustParsePrefix(c.Spec.Spec.Provider.MachineCIDR()).Masked().Addr()
	for i := range machines {
		next = next.Next()
		if !machines[i].Address.IsValid() {
			machines[i].Address = next
		}
	}
	return network.CompileFor(c.declaredNetwork(machines))
}

// declaredNetwork is what those machines are told that make policy of it.
func (c *Cluster) declaredNetwork(machines []provider.Machine) unit.Network {
	d := c.desiredFor("", machines, trust{})
	d.NetworkPolicy = c.Spec.Spec.Network.Policy
	return d.Network()
}

// Network reads all that decides who reaches whom on the live cluster.
func Network(ctx context.Context, c *Cluster) (*observe.Network, error) {
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	client, err := c.clientset(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	d := c.desiredFor("", machines, trust{})
	told, rules := c.declaredNetwork(machines), Rules(c.Spec)
	reaches := between(rules)
	compiled, err := network.CompileFor(told)
	if err != nil {
		return nil, err
	}
	n := &observe.Network{Machines: c.Provider, Declared: network.Declaration{Policy: told.Policy,
		MachineCIDR: netip.MustParsePrefix(told.MachineCIDR), APIServer: netip.AddrPortFrom(told.APIServer, unit.PortAPIServer), Between: reaches}}
	in, policies, err := observe.Live(ctx, client, observe.Peers(ctx, c.Provider, running(machines, d)))
	if err != nil {
		return nil, err
	}
	in.MachinePorts = machinePorts(rules)
	in.Internet = internet
	n.Inventory = in
	n.World = network.World{Policies: policies, Global: compiled.Global, Sets: compiled.Sets, Hosts: compiled.Hosts, Between: reaches}
	n.Own = n.World
	n.Own.Policies = slices.DeleteFunc(slices.Clone(policies), func(p networkingv1.NetworkPolicy) bool { return !baseline.Manages(p.Labels) })
	return n, nil
}

// internet are addresses that stand for all the others: of ranges that are nobody's (RFC 5737).
var internet = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1")}

// running are the machines that can be looked at.
func running(machines []provider.Machine, d unit.Desired) []unit.Machine {
	var out []unit.Machine
	for i, m := range machines {
		if m.State == provider.Running {
			out = append(out, d.Machines[i])
		}
	}
	return out
}

// between says what the network between machines lets through, and to where: the security groups.
func between(rules []provider.Rule) func(from, to network.Peer, port network.Port) (bool, string) {
	return func(from, to network.Peer, port network.Port) (bool, string) {
		role := to.Role
		if to.Machine == "" {
			role = provider.Outside
		}
		if network.Metadata.Contains(to.Address) {
			return port == metadataPort, "what the network tells every machine"
		}
		for _, r := range rules {
			if r.From == from.Role && r.To.Role == role && (r.To.Port == 0 || r.To.Port == uint16(port.Number)) && meansProtocol(r.To.Protocol, port) {
				return true, r.Why
			}
		}
		return false, "no security group lets " + string(from.Role) + " machines connect there"
	}
}

// metadataPort is the one that a cloud answers at.
var metadataPort = network.Port{Protocol: corev1.ProtocolTCP, Number: 80}

// meansProtocol: a rule that names none is for TCP and UDP.
func meansProtocol(protocol string, port network.Port) bool {
	return strings.EqualFold(protocol, string(port.Protocol)) || protocol == "" && port.Protocol != corev1.ProtocolSCTP
}

// machinePorts are what machines of each role are asked for by others.
func machinePorts(rules []provider.Rule) map[v1alpha1.Role][]network.Port {
	out := map[v1alpha1.Role][]network.Port{}
	for _, r := range rules {
		if r.From != provider.Operator && r.To.Role != provider.Outside && r.To.Port != 0 && r.To.Protocol != "" {
			out[r.To.Role] = append(out[r.To.Role], network.Port{Protocol: corev1.Protocol(strings.ToUpper(r.To.Protocol)), Number: int32(r.To.Port)})
		}
	}
	return out
}
