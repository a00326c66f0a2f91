package unit

import "ashlar.dev/ashlar/api/v1alpha1"

// Ports that machines listen on.
const (
	PortSSH          = v1alpha1.PortSSH
	PortVault        = 8200
	PortVaultCluster = 8201
	PortAPIServer    = 6443
	PortKubelet      = 10250
	PortVXLAN        = 4789
	// PortWebhook is on a control-plane machine's loopback.
	PortWebhook = 9443
)

// EtcdCluster is one of the three etcd clusters that every etcd machine is a member of.
type EtcdCluster struct {
	Name                          string
	CA                            CA
	ClientPort, PeerPort, Metrics int
}

// EtcdClusters are the three.
var EtcdClusters = []EtcdCluster{
	{Name: "k8s", CA: CAEtcdKubernetes, ClientPort: 2379, PeerPort: 2380, Metrics: 2381},
	{Name: "events", CA: CAEtcdKubernetes, ClientPort: 2369, PeerPort: 2370, Metrics: 2371},
	{Name: "overlay", CA: CAEtcdOverlay, ClientPort: 2359, PeerPort: 2360, Metrics: 2361},
}
