package local

import (
	"context"
	"net/netip"

	"ashlar.dev/ashlar/internal/provider"
)

// NetworkDrift implements provider.Provider. A machine that does not run has no network to differ.
func (p *Provider) NetworkDrift(ctx context.Context, machines []provider.Machine, network provider.Network) ([]provider.Drift, error) {
	var drift []provider.Drift
	there := map[string]bool{}
	for _, name := range []string{p.fabricNamespace(), p.internetNamespace()} {
		if there[name] = namespaceExists(name); !there[name] {
			drift = append(drift, provider.Drift{Cause: "network namespace " + name + " is missing", Action: "make it"})
		}
	}
	if len(drift) > 0 {
		return drift, nil // all else hangs on them
	}
	edge := p.edge()
	parts, err := partsDrift("", edge.fabric, edge.want)
	if err != nil {
		return nil, err
	}
	drift = append(drift, parts...)
	if parts, err = partsDrift("", edge.other, edge.otherWant); err != nil {
		return nil, err
	}
	drift = append(drift, parts...)
	if parts, err = edgeDrift(p.fabricNamespace(), internetLink, edgeSide(machines), internetEdge); err != nil {
		return nil, err
	}
	drift = append(drift, parts...)
	if parts, err = edgeDrift(p.internetNamespace(), machineLink, trustedSide(network.Trusted), internetAddress); err != nil {
		return nil, err
	}
	drift = append(drift, parts...)
	for _, m := range machines {
		if parts, err = p.linkDrift(m); err != nil {
			return nil, err
		}
		drift = append(drift, parts...)
	}
	differs, err := rulesDiffer(ctx, p.fabricNamespace(), Ruleset(machines, network))
	if differs {
		drift = append(drift, provider.Drift{Cause: "the security groups (nftables rules) are not those declared", Action: "load them anew"})
	}
	return drift, err
}

func (p *Provider) linkDrift(m provider.Machine) ([]provider.Drift, error) {
	if _, running := p.running(m.Name); !running {
		return nil, nil
	}
	name := p.machineNamespace(m.Name)
	if !namespaceExists(name) {
		return []provider.Drift{{Machine: m.Name, Cause: "network namespace " + name + " has lost its name", Action: "name it again"}}, nil
	}
	here, err := partsDrift(m.Name, p.fabricNamespace(), p.fabricSide(m.Name, m.Address))
	if err != nil {
		return nil, err
	}
	there, err := partsDrift(m.Name, name, machineSide(m.Address))
	return append(here, there...), err
}

// edgeDrift names what is missing of a link of the edge, and what is too much.
func edgeDrift(namespace, link string, want []part, own netip.Prefix) ([]provider.Drift, error) {
	drift, err := partsDrift("", namespace, want)
	if err != nil {
		return nil, err
	}
	s, err := openSpace(namespace)
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := s.observe(nil)
	for _, t := range extraAddresses(have, want, link, own) {
		drift = append(drift, provider.Drift{Cause: t.String() + " in network namespace " + namespace + " is nobody's", Action: "remove it"})
	}
	return drift, err
}

// partsDrift names what is missing in one namespace.
func partsDrift(machine, namespace string, want []part) ([]provider.Drift, error) {
	parts, err := missingIn(namespace, want)
	var drift []provider.Drift
	for _, t := range parts {
		drift = append(drift, provider.Drift{Machine: machine, Cause: t.String() + " is missing in network namespace " + namespace, Action: "make it"})
	}
	return drift, err
}
