package phase

import (
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// network is how the cluster's machines are connected, to each other and to the outside.
func (c *Cluster) network() provider.Network {
	return provider.Network{Rules: Rules(c.Spec), Trusted: c.Spec.Spec.Exposure.Trusted()}
}

// Rules is who may open a connection to whom, and why. All else is refused.
func Rules(spec *v1alpha1.Cluster) []provider.Rule {
	const (
		v, e, c, w, l = v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker, v1alpha1.RoleLB
		b, p, h       = v1alpha1.RoleBastion, v1alpha1.RolePublicLB, v1alpha1.RoleHub
		op, out       = provider.Operator, provider.Outside
	)
	tcp := func(from, to v1alpha1.Role, port uint16, why string) provider.Rule {
		return provider.Rule{From: from, To: provider.Endpoint{Role: to, Protocol: "tcp", Port: port}, Why: why}
	}
	rules := []provider.Rule{
		tcp(op, v, unit.PortVault, "ashlar reads and writes the cluster's state"),
		tcp(op, l, unit.PortAPIServer, "kubectl, through the load balancer"),
		tcp(v, v, unit.PortVault, "members join each other"),
		tcp(v, v, unit.PortVaultCluster, "raft, and requests forwarded to the leader"),
		tcp(l, c, unit.PortAPIServer, "the load balancer in front of the API servers"),
		tcp(c, l, unit.PortAPIServer, "controllers use the API"),
		tcp(w, l, unit.PortAPIServer, "nodes and their pods use the API"),
		tcp(c, w, unit.PortKubelet, "logs, exec and port-forward"),
		{From: w, To: provider.Endpoint{Role: w, Protocol: "udp", Port: unit.PortVXLAN}, Why: "the pods' overlay network"},
	}
	managed := spec.Spec.Provider.Managed // which have no agent, and no sshd
	for _, from := range []v1alpha1.Role{e, c, w, l, b, p, h} {
		if !managed(from) {
			rules = append(rules, tcp(from, v, unit.PortVault, "the agent"))
		}
	}
	for _, cluster := range unit.EtcdClusters {
		rules = append(rules,
			tcp(e, e, uint16(cluster.PeerPort), "raft of etcd "+cluster.Name),
			tcp(e, e, uint16(cluster.ClientPort), "a member without data asks the others of etcd "+cluster.Name),
			tcp(c, e, uint16(cluster.ClientPort), "clients of etcd "+cluster.Name))
		if cluster.CA == unit.CAEtcdOverlay {
			rules = append(rules, tcp(w, e, uint16(cluster.ClientPort), "calico-node"))
		}
	}
	for _, to := range v1alpha1.Roles {
		if to != b && !managed(to) {
			rules = append(rules, tcp(b, to, unit.PortSSH, "ssh, through the bastion"))
		}
	}
	rules = append(rules,
		tcp(provider.Trusted, b, unit.PortSSH, "ssh, to the bastion"),
		provider.Rule{From: w, To: provider.Endpoint{Role: out}, Why: "what pods are allowed, through NAT"},
		provider.Rule{From: h, To: provider.Endpoint{Role: out}, Why: "what runs beside Kubernetes, through NAT"},
		tcp(v, out, 443, "the identity provider, through NAT"),
		tcp(c, out, 443, "issuers of tokens, through NAT"))
	return slices.Concat(rules, publicRules(spec), awsRules(spec))
}

// publicServices are what the public load balancer serves, each by the machines of its pool.
func (c *Cluster) publicServices(machines []provider.Machine) []unit.PublicService {
	var out []unit.PublicService
	for _, s := range c.Spec.Spec.Exposure.Services {
		p := unit.PublicService{Name: s.Name, Port: s.Port, Plaintext: s.Plaintext, Hostnames: s.Hostnames}
		for _, m := range machines {
			if c.Spec.PoolOf(m.Name) == s.Pool {
				p.Upstreams = append(p.Upstreams, netip.AddrPortFrom(m.Address, uint16(s.TargetPort)))
			}
		}
		out = append(out, p)
	}
	return out
}

// publicRules is what the internet reaches, and what lies behind it.
func publicRules(spec *v1alpha1.Cluster) []provider.Rule {
	var rules []provider.Rule
	said := map[provider.Rule]int{} // where: services may share a port
	say := func(from v1alpha1.Role, to provider.Endpoint, why, name string) {
		r := provider.Rule{From: from, To: to}
		at, known := said[r]
		if !known {
			said[r], r.Why = len(rules), why+name
			rules = append(rules, r)
			return
		}
		rules[at].Why += ", " + name
	}
	for _, s := range spec.Spec.Exposure.Services {
		role := v1alpha1.RoleHub
		for _, p := range spec.Spec.Pools {
			if p.Name == s.Pool {
				role = p.Role
			}
		}
		say(provider.Trusted, provider.Endpoint{Role: v1alpha1.RolePublicLB, Protocol: "tcp", Port: uint16(s.Port)}, "the public service ", s.Name)
		say(v1alpha1.RolePublicLB, provider.Endpoint{Role: role, Protocol: "tcp", Port: uint16(s.TargetPort)},
			"the public load balancer in front of ", s.Name)
	}
	return rules
}
