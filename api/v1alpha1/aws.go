package v1alpha1

import "slices"

// AWS configures machines on AWS. What is reached there has load balancers of AWS's own, so no pool has role lb or public-lb; the
// operator comes in through the bastion, so there is one. Machines of role control-plane and worker are members of a group, which
// AWS replaces and scales.
type AWS struct {
	// Region is the AWS region, as eu-central-1.
	Region string `json:"region"`
	// Zones are up to three availability zones of the region, by their full names, which machines take turns in. Left out: a, b and
	// c of the region if three machines or more are of role vault or of role etcd, or else a.
	Zones []string `json:"zones,omitempty"`
	// VPCCIDR is the network of the machines, /16 to /22, of which each zone gets a public and a private subnet. Of an existing VPC
	// it is what that has.
	VPCCIDR string `json:"vpcCIDR,omitempty"`
	// VPC is an existing one to build in. Left out: one is made.
	VPC *AWSNetwork `json:"vpc,omitempty"`
	// Image is the id of an AMI for all machines: for x86_64, with systemd, cloud-init and SELinux enforcing. Left out: the newest Rocky
	// Linux 9, which is looked up.
	Image string `json:"image,omitempty"`
	// StateBucket is a bucket of yours for OpenTofu's state: versioned, encrypted by KMS. Left out: up makes <cluster>-<account>-state.
	StateBucket string `json:"stateBucket,omitempty"`
	// Jenkins runs `ashlar plan` on each change of the cluster's file, and `ashlar up` when somebody approves it. Left out: none.
	Jenkins *AWSJenkins `json:"jenkins,omitempty"`
	// Foreman has the Puppet server for the operating systems of machines. Left out: none.
	Foreman *AWSForeman `json:"foreman,omitempty"`
}

// AWSNetwork is a VPC that exists, with a subnet of each kind for each of the zones, in their order.
type AWSNetwork struct {
	// ID of the VPC, as vpc-0123456789abcdef0.
	ID string `json:"id"`
	// PublicSubnets are the ids of those with a route to an internet gateway: for the bastion and the public load balancers.
	PublicSubnets []string `json:"publicSubnets"`
	// PrivateSubnets are the ids of those with a route to a NAT gateway: for all else.
	PrivateSubnets []string `json:"privateSubnets"`
}

// AWSJenkins makes a machine of a hub pool a Jenkins, which is configured by code.
type AWSJenkins struct {
	// Service is that of spec.exposure.services which it is reached by. Its pool has one machine, of role hub.
	Service string `json:"service"`
	// Repository is the git repository that holds the cluster's file, by HTTPS.
	Repository string `json:"repository"`
	// Branch of it that is the truth.
	Branch string `json:"branch,omitempty"`
	// File is where in it the cluster's file is.
	File string `json:"file,omitempty"`
}

// AWSForeman makes a machine of a hub pool a Foreman with its Puppet server.
type AWSForeman struct {
	// Service is that of spec.exposure.services which it is reached by. Its pool has one machine, of role hub.
	Service string `json:"service"`
}

// AWSPool is what the machines of a pool are on AWS.
type AWSPool struct {
	// InstanceType is that of EC2, of the x86_64 kind. Left out: what the role needs.
	InstanceType string `json:"instanceType,omitempty"`
	// VolumeGiB is the size of the root volume. Left out: 20, of role worker 50.
	VolumeGiB int `json:"volumeGiB,omitempty"`
	// DataVolumeGiB is the size of the volume that outlives the machine; of role vault and etcd. Left out: 10 and 20.
	DataVolumeGiB int `json:"dataVolumeGiB,omitempty"`
	// Max is how many machines the group may be scaled to without up, where count is the least; of role control-plane and worker.
	// Left out: count.
	Max int `json:"max,omitempty"`
	// Spot takes spare capacity, which AWS may take back at any time; of role worker.
	Spot bool `json:"spot,omitempty"`
	// ExtraVolumes are further disks; of role control-plane and worker.
	ExtraVolumes []AWSVolume `json:"extraVolumes,omitempty"`
	// Labels of the nodes; of role worker. Nodes may not set those of kubernetes.io but for node.kubernetes.io.
	Labels map[string]string `json:"labels,omitempty"`
	// Taints of the nodes, each as key=value:NoSchedule; of role worker.
	Taints []string `json:"taints,omitempty"`
}

// AWSVolume is a further disk of a machine, encrypted and empty.
type AWSVolume struct {
	// Device is /dev/sdf to /dev/sdp.
	Device string `json:"device"`
	// GiB is its size.
	GiB int `json:"gib"`
}

// onAWS says no where both providers are named: that is the error to report.
func (p Provider) onAWS() bool { return p.AWS != nil && p.Local == nil }

// MachineCIDR is the network of the machines.
func (p Provider) MachineCIDR() string {
	switch {
	case p.AWS != nil:
		return p.AWS.VPCCIDR
	case p.Local != nil:
		return p.Local.MachineCIDR
	}
	return ""
}

// Managed says whether what a role is for is a service of the provider's, and no machine of the cluster.
func (p Provider) Managed(role Role) bool {
	return p.onAWS() && (role == RoleLB || role == RolePublicLB)
}

// Grouped says whether machines of a role are members of a group, which come and go without `ashlar up` and have names of the provider's.
func (p Provider) Grouped(role Role) bool {
	return p.onAWS() && (role == RoleControlPlane || role == RoleWorker)
}

// Most is how many machines a pool may grow to.
func (p Pool) Most() int {
	if p.AWS == nil {
		return p.Count
	}
	return max(p.Count, p.AWS.Max)
}

// defaultAWS fills in what was left out of a cluster on AWS, when it has all of its pools.
func defaultAWS(s *Spec) {
	a := s.Provider.AWS
	if a.VPC == nil { // or it would not be what the VPC has
		setDefault(&a.VPCCIDR, "10.90.0.0/16")
	}
	if a.Zones == nil && a.Region != "" {
		zones := 1
		for _, role := range []Role{RoleVault, RoleEtcd} {
			zones = max(zones, min(3, machines(s.Pools, role)))
		}
		for _, letter := range "abc"[:zones] {
			a.Zones = append(a.Zones, a.Region+string(letter))
		}
	}
	if a.Jenkins != nil {
		setDefault(&a.Jenkins.Branch, "main")
		setDefault(&a.Jenkins.File, "cluster.yaml")
	}
	types := map[Role]string{RoleVault: "t3.small", RoleEtcd: "m6i.large", RoleControlPlane: "m6i.large", RoleWorker: "m6i.large",
		RoleBastion: "t3.micro", RoleHub: "t3.large"}
	for i := range s.Pools {
		p := &s.Pools[i]
		if types[p.Role] == "" { // an error, and what it is like is of no use to it
			continue
		}
		own := AWSPool{} // the pools of a file may be those of another Cluster, too
		if p.AWS != nil {
			own = *p.AWS
		}
		setDefault(&own.InstanceType, types[p.Role])
		size := 20
		if p.Role == RoleWorker {
			size = 50
		}
		setDefault(&own.VolumeGiB, size)
		if data, kept := dataVolumes[p.Role]; kept {
			setDefault(&own.DataVolumeGiB, data)
		}
		if slices.Contains(groupRoles, p.Role) {
			setDefault(&own.Max, p.Count)
		}
		p.AWS = &own
	}
}

var (
	groupRoles  = []Role{RoleControlPlane, RoleWorker}
	dataVolumes = map[Role]int{RoleVault: 10, RoleEtcd: 20} // GiB
)
