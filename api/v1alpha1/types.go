// Package v1alpha1 is the file a user writes: the Cluster, its defaults and what is refused about it.
package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIVersion and Kind are the only ones this package decodes.
const (
	APIVersion = "ashlar.dev/v1alpha1"
	Kind       = "Cluster"
)

// Cluster is one Kubernetes cluster, whole: what `ashlar up` converges to.
type Cluster struct {
	// APIVersion must be ashlar.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind must be Cluster.
	Kind string `json:"kind"`
	// Metadata names the cluster.
	Metadata Metadata `json:"metadata"`
	// Spec is what the cluster shall be.
	Spec Spec `json:"spec"`
}

// Metadata names a cluster.
type Metadata struct {
	// Name is a DNS label (RFC 1123) of at most 20 characters, unique on its provider, and no path that Vault keeps for itself (sys, auth, …).
	Name string `json:"name"`
}

// Spec is what a cluster shall be.
type Spec struct {
	// KubernetesVersion is a version that the bundle holds, as v1.37.2.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// Provider says where machines come from; exactly one of its fields is set.
	Provider Provider `json:"provider"`
	// Pools are groups of equal machines. Roles vault, etcd and lb get a pool of one machine when none is declared,
	// and so does public-lb where services are public. On aws, lb and public-lb have none, and bastion gets one.
	Pools []Pool `json:"pools"`
	// Network has the address ranges inside the cluster, and what pods may reach.
	Network Network `json:"network,omitempty"`
	// PKI has the lifetimes of credentials.
	PKI PKI `json:"pki,omitempty"`
	// Authentication says who may prove who they are, beside machines' certificates, ServiceAccounts' tokens and users' passwords.
	Authentication Authentication `json:"authentication,omitempty"`
	// Authorization says what pods may ask of the API.
	Authorization Authorization `json:"authorization,omitempty"`
	// Isolation says what pods may do to their machine, and how much of it they may take.
	Isolation Isolation `json:"isolation,omitzero"`
	// SSH says which groups of users may become root on which machines by `ashlar ssh`, beside the operator. Left out: none.
	SSH []SSHGrant `json:"ssh,omitzero"`
	// Exposure says what the internet may reach.
	Exposure Exposure `json:"exposure,omitempty"`
}

// Provider says where machines come from.
type Provider struct {
	// Local makes every machine a container on this host.
	Local *Local `json:"local,omitempty"`
	// AWS makes every machine an EC2 instance.
	AWS *AWS `json:"aws,omitempty"`
}

// Local configures machines on this host.
type Local struct {
	// MachineCIDR is the network of the machines, routed inside a network namespace of the cluster's own.
	// It never appears on the host, so that several clusters may use the same.
	MachineCIDR string `json:"machineCIDR,omitempty"`
}

// Role is what a machine is for.
type Role string

// The roles of machines.
const (
	RoleVault        Role = "vault"
	RoleEtcd         Role = "etcd"
	RoleControlPlane Role = "control-plane"
	RoleWorker       Role = "worker"
	RoleLB           Role = "lb"
	// RoleBastion is the one way in for people who need a shell.
	RoleBastion Role = "bastion"
	// RolePublicLB is the load balancer in front of public services.
	RolePublicLB Role = "public-lb"
	// RoleHub is a machine for what the user runs beside Kubernetes, such as Jenkins.
	RoleHub Role = "hub"
)

// Roles lists all roles, in the order in which they come up.
var Roles = []Role{RoleVault, RoleEtcd, RoleLB, RoleControlPlane, RoleWorker, RoleBastion, RolePublicLB, RoleHub}

// Pool is a group of equal machines, named <pool>-0, <pool>-1, ….
type Pool struct {
	// Name is a DNS label of at most 13 characters (control-plane has as many), unique in the cluster, and no other role's.
	Name string `json:"name"`
	// Role is vault, etcd, lb, control-plane, worker, bastion, public-lb or hub. Without a bastion no machine has an sshd.
	Role Role `json:"role"`
	// Count of machines. vault and etcd: 1, 3 or 5 (a majority must be able to survive a loss); lb, bastion, public-lb: 1.
	Count int `json:"count"`
	// Local is what its machines are on this host.
	Local *LocalPool `json:"local,omitempty"`
	// AWS is what its machines are there.
	AWS *AWSPool `json:"aws,omitempty"`
}

// LocalPool is how large the machines of a pool are, on this host. A change holds from their next boot on.
type LocalPool struct {
	// CPUs are how many each may use at most, as 1500m or 2. Left out: all of the host's.
	CPUs string `json:"cpus,omitempty"`
	// Memory is the most that each may have, as 4Gi. Left out: as much as the host has.
	Memory string `json:"memory,omitempty"`
}

// Network has the address ranges inside the cluster, and what pods may reach. The ranges must not overlap each other or the machines' own.
type Network struct {
	// PodCIDR is the range of pod addresses (IPv4).
	PodCIDR string `json:"podCIDR,omitempty"`
	// ServiceCIDR is the range of Service addresses (IPv4). Its first address is the API server's, its tenth DNS's.
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
	// ClusterDomain is the DNS suffix of Services.
	ClusterDomain string `json:"clusterDomain,omitempty"`
	// Policy is what pods may reach, and who may reach them. Left out: nothing but DNS, and nobody.
	Policy NetworkPolicy `json:"policy,omitzero"`
}

// PKI has the lifetimes of credentials.
type PKI struct {
	// LeafTTL is the lifetime of every certificate that is not a CA, and of a machine's Vault token. They are renewed at half of it.
	// Kubernetes looks for renewed certificates every five minutes, so it is at least 15m.
	LeafTTL metav1.Duration `json:"leafTTL,omitempty"`
	// CATTL is the lifetime of each CA.
	CATTL metav1.Duration `json:"caTTL,omitempty"`
	// InitTokenTTL is how long a new machine has to show its init token.
	InitTokenTTL metav1.Duration `json:"initTokenTTL,omitempty"`
	// AdminTTL is the lifetime of the certificate in the administrator's kubeconfig.
	AdminTTL metav1.Duration `json:"adminTTL,omitempty"`
}

// Machine is one host of a cluster, before and apart from Kubernetes.
type Machine struct {
	Name string
	Role Role
}

// PoolOf names the pool that a machine is of; nothing if none declares it.
func (c *Cluster) PoolOf(machine string) string {
	for _, p := range c.Spec.Pools {
		for i := range p.Count {
			if fmt.Sprintf("%s-%d", p.Name, i) == machine {
				return p.Name
			}
		}
	}
	return ""
}

// Machines lists the machines that the pools declare by name, in the order of Roles: not the members of groups.
func (c *Cluster) Machines() []Machine {
	var out []Machine
	for _, role := range Roles {
		for _, p := range c.Spec.Pools {
			if c.Spec.Provider.Grouped(role) {
				continue
			}
			for i := 0; p.Role == role && i < p.Count; i++ {
				out = append(out, Machine{Name: fmt.Sprintf("%s-%d", p.Name, i), Role: role})
			}
		}
	}
	return out
}
