package network

import (
	"fmt"
	"net/netip"

	"ashlar.dev/ashlar/internal/unit"
)

// CompileFor is Compile for what a machine was told.
func CompileFor(n unit.Network) (Compiled, error) {
	facts := Facts{APIServer: n.APIServer}
	for to, cidr := range map[*netip.Prefix]string{&facts.PodCIDR: n.PodCIDR, &facts.ServiceCIDR: n.ServiceCIDR, &facts.MachineCIDR: n.MachineCIDR} {
		p, err := netip.ParsePrefix(cidr)
		if err != nil {
			return Compiled{}, fmt.Errorf("compile what is declared of pods: %w", err)
		}
		*to = p
	}
	for _, w := range n.Workers {
		facts.Workers = append(facts.Workers, Worker{w.Name, w.Address})
	}
	out, err := Compile(n.Policy, facts)
	if err != nil {
		return out, fmt.Errorf("compile what is declared of pods: %w", err)
	}
	return out, nil
}
