package unit

import (
	"encoding/json"
	"net/netip"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// NetworkFile is where a machine keeps Network: etcd machines compile it for Calico, and the baseline controller for
// namespaces.
const NetworkFile = "/etc/ashlar/network.json"

// Network is what is declared of pods, and what it is about.
type Network struct {
	Policy      v1alpha1.NetworkPolicy `json:"policy,omitzero"`
	PodCIDR     string                 `json:"podCIDR"`
	ServiceCIDR string                 `json:"serviceCIDR"`
	MachineCIDR string                 `json:"machineCIDR"`
	APIServer   netip.Addr             `json:"apiServer"`
	Workers     []Machine              `json:"workers"`
	// Members: workers come and go, and Workers are not all.
	Members bool `json:"members,omitempty"`
}

// Network is what d declares. Only etcd and control-plane machines have the policy.
func (d Desired) Network() Network {
	return Network{Policy: d.NetworkPolicy, PodCIDR: d.PodCIDR, ServiceCIDR: d.ServiceCIDR, MachineCIDR: d.MachineCIDR,
		APIServer: d.WithRole(v1alpha1.RoleLB)[0].Address, Workers: d.WithRole(v1alpha1.RoleWorker), Members: d.Region != ""}
}

func networkFile(d Desired) File {
	b, err := json.MarshalIndent(d.Network(), "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return File{Path: NetworkFile, Mode: 0o600, Content: string(b) + "\n"}
}
