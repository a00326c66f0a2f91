// Package unit says what runs on each role of machine. It is pure: desired state in, units out,
// and whoever wants to know what a flag is set to, and why, reads it here.
package unit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Desired is what a machine is told to be. `ashlar up` writes it to Vault, and only that machine reads it.
// It holds no secret.
type Desired struct {
	// Cluster is the cluster's name, ID its identity, made once.
	Cluster string `json:"cluster"`
	ID      string `json:"id"`
	// Self is the machine this document is for.
	Self string `json:"self"`
	// Pool is the group that it is a member of; empty if the file names it.
	Pool string `json:"pool,omitempty"`
	// Region is the cloud's, where DNS knows names and systemd runs the machine; empty on this host.
	Region string `json:"region,omitempty"`
	// Machines are all machines of the cluster.
	Machines []Machine `json:"machines"`
	// KubernetesVersion, and the ranges, are as in the Cluster.
	KubernetesVersion string        `json:"kubernetesVersion"`
	MachineCIDR       string        `json:"machineCIDR"`
	PodCIDR           string        `json:"podCIDR"`
	ServiceCIDR       string        `json:"serviceCIDR"`
	ClusterDomain     string        `json:"clusterDomain"`
	LeafTTL           time.Duration `json:"leafTTL"`
	// Authentication and Authorization are as in the Cluster. Only control-plane machines have them.
	Authentication v1alpha1.Authentication `json:"authentication,omitzero"`
	Authorization  v1alpha1.Authorization  `json:"authorization,omitzero"`
	// NetworkPolicy is as in the Cluster. Only etcd and control-plane machines have it.
	NetworkPolicy v1alpha1.NetworkPolicy `json:"networkPolicy,omitzero"`
	// Isolation is as in the Cluster. Only control-plane machines have it.
	Isolation v1alpha1.Isolation `json:"isolation,omitzero"`
	// PublicServices are what the public load balancer serves. Only its machine has them.
	PublicServices []PublicService `json:"publicServices,omitempty"`
	// Revoked is what the machine must not take any more. Only machines that are asked have it.
	Revoked []Revocation `json:"revoked,omitempty"`
	// Ceilings are the most that pods of each class may take of a machine's disk and network. Only workers have them.
	Ceilings []Ceiling `json:"ceilings,omitempty"`
	// CAs are the trusted certificates of each CA, as PEM.
	CAs map[CA]string `json:"cas"`
	// Issuers are the keys that certificates of each CA must be signed by: of several trusted ones, the one that signs.
	Issuers map[CA]string `json:"issuers,omitempty"`
	// SSH is whom sshd trusts; nil: there is no bastion, and no sshd.
	SSH *SSH `json:"ssh,omitempty"`
	// ServiceAccountKeys are the documents of the keys that tokens of ServiceAccounts are trusted by; the first signs.
	ServiceAccountKeys []string `json:"serviceAccountKeys,omitempty"`
}

// Machine is one machine of the cluster, as the others know it.
type Machine struct {
	Name    string        `json:"name"`
	Role    v1alpha1.Role `json:"role"`
	Address netip.Addr    `json:"address"`
}

// Me returns the machine that the document is for.
func (d Desired) Me() Machine {
	i := slices.IndexFunc(d.Machines, func(m Machine) bool { return m.Name == d.Self })
	if i < 0 {
		return Machine{Name: d.Self}
	}
	return d.Machines[i]
}

// As is the document of a group as one of its members reads it.
func (d Desired) As(m Machine) Desired {
	if !IsMember(d.Self) {
		d.Pool = d.Self
	}
	d.Self = m.Name
	d.Machines = slices.DeleteFunc(slices.Clone(d.Machines), func(o Machine) bool { return o.Name == m.Name })
	d.Machines = append(d.Machines, m)
	return d
}

// WithRole returns the machines of a role, in their order.
func (d Desired) WithRole(role v1alpha1.Role) []Machine {
	var out []Machine
	for _, m := range d.Machines {
		if m.Role == role {
			out = append(out, m)
		}
	}
	return out
}

// APIServerURL is where every client finds the API: the internal load balancer.
func (d Desired) APIServerURL() string {
	return fmt.Sprintf("https://%s:%d", d.WithRole(v1alpha1.RoleLB)[0].Name, PortAPIServer)
}

// KubernetesServiceIP is the first address of the Service range, where pods find the API.
func (d Desired) KubernetesServiceIP() netip.Addr { return nthAddress(d.ServiceCIDR, 1) }

// DNSServiceIP is the tenth address of the Service range, where pods find DNS.
func (d Desired) DNSServiceIP() netip.Addr { return nthAddress(d.ServiceCIDR, 10) }

func nthAddress(cidr string, n int) netip.Addr {
	a := netip.MustParsePrefix(cidr).Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Hosts renders /etc/hosts: machines know each other by name without any DNS. What has a dot in its name comes and goes, or is
// no machine but a load balancer: that is in DNS.
func (d Desired) Hosts() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for _, m := range d.Machines {
		if strings.Contains(m.Name, ".") {
			continue
		}
		names := m.Name
		if m.Role == v1alpha1.RoleVault {
			names += " " + VaultName
		}
		fmt.Fprintf(&b, "%s %s\n", m.Address, names)
	}
	return b.String()
}
