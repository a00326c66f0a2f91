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
	next := netip.MustParsePrefix(c.Spec.Spec.Provider.Local.MachineCIDR).Masked().Addr()
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
	told := c.declaredNetwork(machines)
	compiled, err := network.CompileFor(told)
	if err != nil {
		return nil, err
	}
	n := &observe.Network{Machines: c.Provider, Declared: network.Declaration{Policy: told.Policy,
		MachineCIDR: netip.MustParsePrefix(told.MachineCIDR), APIServer: told.APIServer, Between: between}}
	in, policies, err := observe.Live(ctx, client, observe.Peers(ctx, c.Provider, running(machines, d)))
	if err != nil {
		return nil, err
	}
	in.MachinePorts = machinePorts()
	n.Inventory = in
	n.World = network.World{Policies: policies, Global: compiled.Global, Sets: compiled.Sets, Hosts: compiled.Hosts, Between: between}
	n.Own = n.World
	n.Own.Policies = slices.DeleteFunc(slices.Clone(policies), func(p networkingv1.NetworkPolicy) bool { return !baseline.Manages(p.Labels) })
	return n, nil
}

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

// between is what the network between machines lets through: the security groups.
func between(from, to network.Peer, port network.Port) (bool, string) {
	for _, r := range Rules() {
		if r.From == from.Role && to.Machine != "" && r.To.Role == to.Role && r.To.Port == uint16(port.Number) &&
			strings.EqualFold(r.To.Protocol, string(port.Protocol)) {
			return true, r.Why
		}
	}
	if to.Machine == "" {
		return false, "machines have no way out"
	}
	return false, "no security group lets " + string(from.Role) + " machines connect to it"
}

// machinePorts are what machines of each role are asked for by others.
func machinePorts() map[v1alpha1.Role][]network.Port {
	out := map[v1alpha1.Role][]network.Port{}
	for _, r := range Rules() {
		if r.From != provider.Operator {
			out[r.To.Role] = append(out[r.To.Role], network.Port{Protocol: corev1.Protocol(strings.ToUpper(r.To.Protocol)), Number: int32(r.To.Port)})
		}
	}
	return out
}
