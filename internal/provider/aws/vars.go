// Package aws makes the machines of a cluster on AWS, by OpenTofu and the modules of terraform/aws. Of what AWS makes itself, the
// members of groups, it asks AWS.
package aws

import (
	"fmt"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// Variables are those of terraform/aws. None is a secret: all of them end up in the plan and in the state.
type Variables struct {
	Cluster      string             `json:"cluster"`
	Region       string             `json:"region"`
	Zones        []string           `json:"zones"`
	VPCCIDR      string             `json:"vpc_cidr"`
	ExistingVPC  *ExistingVPC       `json:"existing_vpc"`
	ImageID      string             `json:"image_id"`
	TrustedCIDRs []string           `json:"trusted_cidrs"`
	Rules        []Rule             `json:"rules"`
	Machines     map[string]Machine `json:"machines"`
	Groups       map[string]Group   `json:"groups"`
	Services     []Service          `json:"services"`
	Bundle       Bundle             `json:"bundle"`
	Jenkins      *Jenkins           `json:"jenkins"`
	Foreman      *Foreman           `json:"foreman"`
}

// ExistingVPC is one to build in; its subnets are in the order of the zones.
type ExistingVPC struct {
	ID               string   `json:"id"`
	PublicSubnetIDs  []string `json:"public_subnet_ids"`
	PrivateSubnetIDs []string `json:"private_subnet_ids"`
}

// Rule is a provider.Rule as security groups have it.
type Rule struct {
	From     v1alpha1.Role `json:"from"`
	To       v1alpha1.Role `json:"to"`
	Protocol string        `json:"protocol"` // empty is any
	Port     uint16        `json:"port"`     // 0 is any
	Why      string        `json:"why"`
}

// Machine is one that has a name, an address and perhaps data of its own.
type Machine struct {
	Role          v1alpha1.Role `json:"role"`
	Zone          int           `json:"zone"`
	InstanceType  string        `json:"instance_type"`
	VolumeGiB     int           `json:"volume_gib"`
	DataVolumeGiB int           `json:"data_volume_gib"`
}

// Group is a pool whose machines come and go.
type Group struct {
	Role         v1alpha1.Role     `json:"role"`
	Min          int               `json:"min"`
	Max          int               `json:"max"`
	InstanceType string            `json:"instance_type"`
	Spot         bool              `json:"spot"`
	VolumeGiB    int               `json:"volume_gib"`
	ExtraVolumes []Volume          `json:"extra_volumes"`
	Labels       map[string]string `json:"labels"`
	Taints       []string          `json:"taints"`
}

// Volume is a further disk of a group's machines.
type Volume struct {
	Device string `json:"device"`
	GiB    int    `json:"gib"`
}

// Service is a public load balancer.
type Service struct {
	Name           string `json:"name"`
	Port           int    `json:"port"`
	Pool           string `json:"pool"`
	TargetPort     int    `json:"target_port"`
	CertificateARN string `json:"certificate_arn"`
	Plaintext      bool   `json:"plaintext"`
}

// Bundle is the software that machines fetch, and what it must be.
type Bundle struct {
	Digest string `json:"digest"`
	Key    string `json:"key"` // in the bundle's bucket
}

// Jenkins is a machine of the hub, and what it is reached by.
type Jenkins struct {
	Machine     string `json:"machine"`
	Service     string `json:"service"`
	Repository  string `json:"repository"`
	Branch      string `json:"branch"`
	ClusterFile string `json:"cluster_file"`
}

// Foreman is a machine of the hub, and what it is reached by.
type Foreman struct {
	Machine string `json:"machine"`
	Service string `json:"service"`
}

// NewVariables says in the words of terraform/aws what a valid Cluster on AWS, and the network between its machines, shall be.
func NewVariables(c *v1alpha1.Cluster, network provider.Network, bundle string) Variables {
	s, a := c.Spec, c.Spec.Provider.AWS
	v := Variables{
		Cluster: c.Metadata.Name, Region: a.Region, Zones: a.Zones, VPCCIDR: a.VPCCIDR, ImageID: a.Image,
		TrustedCIDRs: []string{}, Rules: securityRules(network.Rules), Machines: machines(c), Groups: map[string]Group{}, Services: []Service{},
		Bundle: Bundle{Digest: bundle, Key: BundleKey(bundle)},
	}
	if a.VPC != nil {
		v.ExistingVPC = &ExistingVPC{ID: a.VPC.ID, PublicSubnetIDs: a.VPC.PublicSubnets, PrivateSubnetIDs: a.VPC.PrivateSubnets}
	}
	for _, p := range network.Trusted {
		v.TrustedCIDRs = append(v.TrustedCIDRs, p.String())
	}
	for _, p := range s.Pools {
		if s.Provider.Grouped(p.Role) {
			v.Groups[p.Name] = group(p)
		}
	}
	for _, x := range s.Exposure.Services {
		v.Services = append(v.Services, Service{Name: x.Name, Port: x.Port, Pool: x.Pool, TargetPort: x.TargetPort,
			CertificateARN: x.CertificateARN, Plaintext: x.Plaintext})
	}
	if j := a.Jenkins; j != nil {
		v.Jenkins = &Jenkins{Machine: behind(s, j.Service), Service: j.Service, Repository: j.Repository, Branch: j.Branch, ClusterFile: j.File}
	}
	if f := a.Foreman; f != nil {
		v.Foreman = &Foreman{Machine: behind(s, f.Service), Service: f.Service}
	}
	return v
}

// BundleKey is where in the bundle's bucket a bundle is.
func BundleKey(digest string) string { return "bundles/" + digest + ".tar.gz" }

// machines are those with a name. Those of a pool take turns in the zones, so that a quorum is lost with no single one.
func machines(c *v1alpha1.Cluster) map[string]Machine {
	out := map[string]Machine{}
	nth := map[v1alpha1.Role]int{}
	for _, m := range c.Machines() {
		i := slices.IndexFunc(c.Spec.Pools, func(p v1alpha1.Pool) bool { return p.Name == c.PoolOf(m.Name) })
		p := c.Spec.Pools[i].AWS
		out[m.Name] = Machine{Role: m.Role, Zone: nth[m.Role] % len(c.Spec.Provider.AWS.Zones), InstanceType: p.InstanceType,
			VolumeGiB: p.VolumeGiB, DataVolumeGiB: p.DataVolumeGiB}
		nth[m.Role]++
	}
	return out
}

func group(p v1alpha1.Pool) Group {
	g := Group{Role: p.Role, Min: p.Count, Max: p.Most(), InstanceType: p.AWS.InstanceType, Spot: p.AWS.Spot, VolumeGiB: p.AWS.VolumeGiB,
		ExtraVolumes: []Volume{}, Labels: map[string]string{}, Taints: []string{}}
	for _, x := range p.AWS.ExtraVolumes {
		g.ExtraVolumes = append(g.ExtraVolumes, Volume{x.Device, x.GiB})
	}
	for key, value := range p.AWS.Labels {
		g.Labels[key] = value
	}
	g.Taints = append(g.Taints, p.AWS.Taints...)
	return g
}

// behind is the one machine that a service of the hub is served by.
func behind(s v1alpha1.Spec, service string) string {
	for _, x := range s.Exposure.Services {
		if x.Name == service {
			return fmt.Sprintf("%s-0", x.Pool)
		}
	}
	return ""
}

// securityRules says each thing once, as security groups must: the operator comes from the bastion, so what both may is one rule.
func securityRules(rules []provider.Rule) []Rule {
	out := []Rule{}
	for _, r := range rules {
		next := Rule{From: r.From, To: r.To.Role, Protocol: r.To.Protocol, Port: r.To.Port, Why: description(r.Why)}
		same := slices.IndexFunc(out, func(o Rule) bool {
			return source(o.From) == source(next.From) && o.To == next.To && o.Protocol == next.Protocol && o.Port == next.Port
		})
		if same < 0 {
			out = append(out, next)
			continue
		}
		out[same].Why = description(out[same].Why + "; " + next.Why)
	}
	return out
}

// source is the security group that a rule's connections come from.
func source(from v1alpha1.Role) v1alpha1.Role {
	if from == provider.Operator {
		return v1alpha1.RoleBastion
	}
	return from
}

// description leaves out what AWS does not take in the description of a rule.
func description(why string) string {
	const punctuation, most = " ._-:/()#,@[]+=&;{}!$*", 255
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(punctuation, r):
			return r
		}
		return -1
	}, why)
	return out[:min(len(out), most)]
}
