package claim

import (
	"fmt"
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// Declared is what a cluster declares to be public, by the addresses that there are for it.
func Declared(spec *v1alpha1.Cluster, machines []provider.Machine, g *exposure.Graph) []exposure.Declared {
	if spec.Spec.Provider.AWS == nil {
		return Public(spec, machines)
	}
	return publicOnAWS(spec, g)
}

// publicOnAWS finds the addresses in the graph: those of the bastion, and those of the load balancer of each service, which is reached if
// the machines of its pool are. What has no address there is missing.
func publicOnAWS(spec *v1alpha1.Cluster, g *exposure.Graph) []exposure.Declared {
	x := spec.Spec.Exposure
	var out []exposure.Declared
	add := func(d exposure.Declared, of string) {
		addresses := []netip.Addr{netip.IPv4Unspecified()}
		if i := slices.IndexFunc(g.Nodes, func(n exposure.Node) bool { return n.Name == of }); i >= 0 && len(g.Nodes[i].Public) > 0 {
			addresses = g.Nodes[i].Public
		}
		for _, a := range addresses {
			d.Address, d.Sources = a, nil
			for _, p := range x.Trusted() {
				if p.Addr().Is4() == a.Is4() {
					d.Sources = append(d.Sources, p)
				}
			}
			if len(d.Sources) > 0 {
				out = append(out, d)
			}
		}
	}
	for _, m := range spec.Machines() {
		if m.Role == v1alpha1.RoleBastion {
			add(exposure.Declared{Name: "ssh", Protocol: exposure.TCP, Port: v1alpha1.PortSSH, Node: m.Name}, m.Name)
		}
	}
	for _, s := range x.Services {
		for _, node := range behind(spec, s.Pool) {
			add(exposure.Declared{Name: s.Name, Protocol: exposure.TCP, Port: uint16(s.Port), Node: node, TargetPort: uint16(s.TargetPort)},
				spec.Metadata.Name+"-"+s.Name)
		}
	}
	return out
}

// behind are the machines of a pool, or the group that they are members of.
func behind(spec *v1alpha1.Cluster, pool string) []string {
	var out []string
	for _, p := range spec.Spec.Pools {
		if p.Name != pool {
			continue
		}
		if spec.Spec.Provider.Grouped(p.Role) {
			return []string{p.Name}
		}
		for i := range p.Count {
			out = append(out, fmt.Sprintf("%s-%d", p.Name, i))
		}
	}
	return out
}
