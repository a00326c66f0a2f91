package unit

import (
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// CA names a certificate authority; its PKI mount in Vault is <cluster>/pki/<CA>.
type CA string

// The CAs. Kubernetes, EtcdKubernetes and EtcdOverlay are the three of the specification.
const (
	CAKubernetes     CA = "kubernetes"
	CAEtcdKubernetes CA = "etcd-k8s"
	CAEtcdOverlay    CA = "etcd-overlay"
	CAFrontProxy     CA = "front-proxy"
	CAVault          CA = "vault"
)

// CAs lists all of them.
var CAs = []CA{CAKubernetes, CAEtcdKubernetes, CAEtcdOverlay, CAFrontProxy, CAVault}

// Self stands for the machine's own name in a Profile.
const Self = "{{machine}}"

// Profile is a kind of certificate: who may have it, and all that it may say. Vault's PKI roles and policies,
// and what the agent asks for, are made from this one table, so that they cannot disagree.
type Profile struct {
	// Name is unique within the CA, and the name of the PKI role.
	Name string
	CA   CA
	// Role is the one role of machine that may obtain it.
	Role v1alpha1.Role
	// CommonName and DNSNames may contain Self. Organizations are what Kubernetes calls groups.
	CommonName    string
	Organizations []string
	DNSNames      []string
	// APIAddress adds the Service address of the API, which pods use by number.
	APIAddress     bool
	Server, Client bool
}

// Groups that Ashlar's own certificates carry; the baseline binds them to roles.
const (
	GroupAdmins     = "ashlar:admins"
	GroupAPIServers = "ashlar:kube-apiservers"
	GroupCalicoCNI  = "ashlar:calico-cni"
	GroupCalico     = "ashlar:calico-kube-controllers"
	GroupBaseline   = "ashlar:baseline-controllers"
)

// UserBreakGlass is who an operator is when Vault is gone.
const UserBreakGlass = "ashlar:break-glass"

// RoleOperator stands, in a Profile, for who runs `ashlar`.
const RoleOperator v1alpha1.Role = "operator"

// APIServerName is a name of the API that every client may verify, whichever server answers.
const APIServerName = "kubernetes"

// VaultName is a name of Vault that any of its servers answers to, and VaultURL where people's tokens come from.
const (
	VaultName = "vault"
	VaultURL  = "https://vault:8200"
)

// Audience is whom Vault's tokens for people are for: the API servers of this cluster.
func Audience(cluster string) string { return "kubernetes." + cluster }

// Profiles is every certificate there can be in a cluster.
var Profiles = []Profile{
	{Name: "vault", CA: CAVault, Role: v1alpha1.RoleVault, CommonName: Self, DNSNames: []string{Self, "localhost", VaultName}, Server: true},

	{Name: "server", CA: CAEtcdKubernetes, Role: v1alpha1.RoleEtcd, CommonName: Self, DNSNames: []string{Self, "localhost"}, Server: true, Client: true},
	{Name: "peer", CA: CAEtcdKubernetes, Role: v1alpha1.RoleEtcd, CommonName: Self, DNSNames: []string{Self}, Server: true, Client: true},
	{Name: "kube-apiserver", CA: CAEtcdKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "kube-apiserver", Client: true},

	{Name: "server", CA: CAEtcdOverlay, Role: v1alpha1.RoleEtcd, CommonName: Self, DNSNames: []string{Self, "localhost"}, Server: true, Client: true},
	{Name: "peer", CA: CAEtcdOverlay, Role: v1alpha1.RoleEtcd, CommonName: Self, DNSNames: []string{Self}, Server: true, Client: true},
	// etcd knows its administrator by the name root; it is used only to define the other users.
	{Name: "root", CA: CAEtcdOverlay, Role: v1alpha1.RoleEtcd, CommonName: "root", Client: true},
	{Name: "calico-kube-controllers", CA: CAEtcdOverlay, Role: v1alpha1.RoleControlPlane, CommonName: "calico-kube-controllers", Client: true},
	{Name: "calico-node", CA: CAEtcdOverlay, Role: v1alpha1.RoleWorker, CommonName: "calico-node", Client: true},

	{Name: "kube-apiserver", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "kube-apiserver", APIAddress: true, Server: true,
		DNSNames: []string{Self, "localhost", APIServerName, "kubernetes.default", "kubernetes.default.svc"}},
	{Name: "kube-apiserver-kubelet-client", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "ashlar:kube-apiserver:" + Self,
		Organizations: []string{GroupAPIServers}, Client: true},
	{Name: "control-plane", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: Self, DNSNames: []string{Self, "localhost"}, Server: true},
	{Name: "kube-controller-manager", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "system:kube-controller-manager", Client: true},
	{Name: "kube-scheduler", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "system:kube-scheduler", Client: true},
	{Name: "calico-kube-controllers", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "ashlar:calico-kube-controllers:" + Self,
		Organizations: []string{GroupCalico}, Client: true},
	{Name: "baseline-controller", CA: CAKubernetes, Role: v1alpha1.RoleControlPlane, CommonName: "ashlar:baseline-controller:" + Self,
		Organizations: []string{GroupBaseline}, Client: true},
	{Name: "front-proxy-client", CA: CAFrontProxy, Role: v1alpha1.RoleControlPlane, CommonName: "front-proxy-client", Client: true},

	{Name: "kubelet", CA: CAKubernetes, Role: v1alpha1.RoleWorker, CommonName: "system:node:" + Self, Organizations: []string{"system:nodes"}, Client: true},
	{Name: "kubelet-serving", CA: CAKubernetes, Role: v1alpha1.RoleWorker, CommonName: Self, DNSNames: []string{Self}, Server: true},
	{Name: "kube-proxy", CA: CAKubernetes, Role: v1alpha1.RoleWorker, CommonName: "system:kube-proxy", Client: true},
	{Name: "calico-cni", CA: CAKubernetes, Role: v1alpha1.RoleWorker, CommonName: "ashlar:calico-cni:" + Self, Organizations: []string{GroupCalicoCNI}, Client: true},

	{Name: "admin", CA: CAKubernetes, Role: RoleOperator, CommonName: "admin", Organizations: []string{GroupAdmins}, Client: true},
}

// For fills in the machine's name.
func (p Profile) For(machine string) Profile {
	p.CommonName = strings.ReplaceAll(p.CommonName, Self, machine)
	p.DNSNames = slices.Clone(p.DNSNames)
	for i := range p.DNSNames {
		p.DNSNames[i] = strings.ReplaceAll(p.DNSNames[i], Self, machine)
	}
	return p
}

// ProfilesOf returns what a role of machine may obtain.
func ProfilesOf(role v1alpha1.Role) []Profile {
	var out []Profile
	for _, p := range Profiles {
		if p.Role == role {
			out = append(out, p)
		}
	}
	return out
}
