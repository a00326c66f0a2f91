package phase

import (
	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// Rules is who may open a connection to whom between machines, and why. All else is refused.
func Rules() []provider.Rule {
	const (
		v, e, c, w, l = v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker, v1alpha1.RoleLB
		op            = provider.Operator
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
	for _, from := range []v1alpha1.Role{e, c, w, l} {
		rules = append(rules, tcp(from, v, unit.PortVault, "the agent"))
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
	return rules
}
