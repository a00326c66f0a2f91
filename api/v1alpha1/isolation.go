package v1alpha1

import "slices"

// Isolation says what pods may do to the machine they run on, and how much of it they may take.
type Isolation struct {
	// Classes are kinds of pods, beside restricted, baseline and privileged, which are always there. A pod names its class by the
	// label ashlar.dev/class; without it, it is restricted.
	Classes []PodClass `json:"classes,omitzero"`
	// Grants say who may use which class, and where. Everybody may use restricted.
	Grants []ClassGrant `json:"grants,omitzero"`
	// Tiers are sizes of namespaces, beside standard, which is always there and is what a namespace has that no tier names.
	Tiers []Tier `json:"tiers,omitzero"`
}

// PodClass is what some pods may do beyond a standard, and the most they may take of a machine's disk and network.
type PodClass struct {
	// Name is a DNS label, unique among the classes. One of restricted, baseline or privileged changes that class' ceilings alone.
	Name string `json:"name"`
	// Standard is the Pod Security Standard that the class begins from: restricted (what it is if left out) or baseline.
	Standard string `json:"standard,omitempty"`
	// Relax are controls of that standard that do not hold, as the Pod Security Standards call them: `ashlar isolation classes`
	// lists them.
	Relax []string `json:"relax,omitzero"`
	// Capabilities are what its containers may add beyond the standard, as NET_ADMIN.
	Capabilities []string `json:"capabilities,omitzero"`
	// HostNamespaces are which of the machine's namespaces its pods may share: network, pid, ipc.
	HostNamespaces []string `json:"hostNamespaces,omitzero"`
	// HostPorts are ports of the machine that its containers may take.
	HostPorts []PortRange `json:"hostPorts,omitzero"`
	// HostPaths are directories of the machine that its pods may mount, with all in them. What is in one that can be written is mounted as
	// a subPath of it.
	HostPaths []HostPath `json:"hostPaths,omitzero"`
	// RunAsUser are the users that its containers may be, and must say that they are; root, too, if 0 is among them. Left out: any that
	// the standard allows.
	RunAsUser []IDRange `json:"runAsUser,omitzero"`
	// Seccomp are the profiles that its pods may name beyond the standard, which allows those of the machine's files (localhost/FILE):
	// Unconfined.
	Seccomp []string `json:"seccomp,omitzero"`
	// SELinux are the options that its pods may set beyond the standard. What one leaves out may not be set.
	SELinux []SELinuxOptions `json:"seLinux,omitzero"`
	// ReadOnlyRoot: its containers cannot write to their own root.
	ReadOnlyRoot bool `json:"readOnlyRoot,omitempty"`
	// HostUsers: its pods' users may be the machine's own. Left out: those of pods are others wherever the kernel can tell them apart.
	HostUsers bool `json:"hostUsers,omitempty"`
	// Disk is the most that each of its pods may take of the machine's disk. Left out: as much as there is.
	Disk DiskCeiling `json:"disk,omitzero"`
	// Network is the most that each of its pods may take of the network. Left out: as much as there is.
	Network NetworkCeiling `json:"network,omitzero"`
}

// PortRange is a range of ports.
type PortRange struct {
	// From is its first.
	From int `json:"from"`
	// To is its last.
	To int `json:"to"`
}

// IDRange is a range of user ids.
type IDRange struct {
	// From is its first.
	From int `json:"from"`
	// To is its last.
	To int `json:"to"`
}

// HostPath is a directory of machines.
type HostPath struct {
	// Prefix is its absolute path.
	Prefix string `json:"prefix"`
	// ReadOnly: it can be mounted only to be read.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// SELinuxOptions is a context, or a part of one.
type SELinuxOptions struct {
	// User is a user of SELinux.
	User string `json:"user,omitempty"`
	// Role is a role of SELinux.
	Role string `json:"role,omitempty"`
	// Type is what a process is to the policy, as container_t.
	Type string `json:"type,omitempty"`
	// Level is its range of categories, as s0:c1,c2.
	Level string `json:"level,omitempty"`
}

// DiskCeiling is the most that a pod may read and write of the machine's disk, in bytes and operations per second.
type DiskCeiling struct {
	// Read and Write are bytes per second, as 20Mi.
	Read string `json:"read,omitempty"`
	// Write is as read.
	Write string `json:"write,omitempty"`
	// ReadOps and WriteOps are operations per second.
	ReadOps int `json:"readOps,omitempty"`
	// WriteOps is as readOps.
	WriteOps int `json:"writeOps,omitempty"`
}

// NetworkCeiling is the most that a pod may receive and send, in bits per second.
type NetworkCeiling struct {
	// Ingress is what it receives, as 100M.
	Ingress string `json:"ingress,omitempty"`
	// Egress is what it sends.
	Egress string `json:"egress,omitempty"`
}

// ClassGrant lets some use a class. Whoever makes a pod may use what they are granted; a pod that a controller makes, what its
// ServiceAccount is granted.
type ClassGrant struct {
	// Class is the name of one.
	Class string `json:"class"`
	// Namespaces are where; they get the Pod Security label that the class needs.
	Namespaces []string `json:"namespaces,omitzero"`
	// NamespaceLabels are what namespaces have where, instead of names. Whoever may label a namespace so, grants the class there.
	NamespaceLabels map[string]string `json:"namespaceLabels,omitzero"`
	// Default has pods there be of the class that name none, for software that knows nothing of classes.
	Default bool `json:"default,omitempty"`
	// Users are people, robots and machines, by the names that the API knows them by.
	Users []string `json:"users,omitzero"`
	// Groups are theirs.
	Groups []string `json:"groups,omitzero"`
	// ServiceAccounts are names in those namespaces; "*" is each.
	ServiceAccounts []string `json:"serviceAccounts,omitzero"`
}

// In says whether the class is granted in a namespace.
func (g ClassGrant) In(namespace string, labels map[string]string) bool {
	return slices.Contains(g.Namespaces, namespace) || OpenNamespaces{Labels: g.NamespaceLabels}.Has(namespace, labels)
}

// Tier is how much the pods of a namespace may take together, and what a container has that does not say.
type Tier struct {
	// Name is a DNS label, unique among the tiers; standard changes the one that is always there.
	Name string `json:"name"`
	// Namespaces are those of the tier.
	Namespaces []OpenNamespaces `json:"namespaces,omitzero"`
	// Quota is the most of each resource, as a ResourceQuota names them.
	Quota map[string]string `json:"quota,omitzero"`
	// Requests are what a container has that names none: cpu, memory, ephemeral-storage.
	Requests map[string]string `json:"requests,omitzero"`
	// Limits are as requests.
	Limits map[string]string `json:"limits,omitzero"`
	// Most is the largest limit that a container may name.
	Most map[string]string `json:"most,omitzero"`
}

// The classes that are always there, called after the Pod Security Standards that they keep.
const (
	ClassRestricted = "restricted"
	ClassBaseline   = "baseline"
	ClassPrivileged = "privileged"
)

// EveryServiceAccount stands for each of a namespace in grants.
const EveryServiceAccount = "*"

// MaxClasses is how many classes may be declared: the API server reads them all at each change.
const MaxClasses = 32
