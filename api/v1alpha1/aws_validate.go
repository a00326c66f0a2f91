package v1alpha1

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	regionPattern       = `^[a-z]{2}(-[a-z]+)+-[1-9]$`
	zonePattern         = `^[a-z]{2}(-[a-z]+)+-[1-9][a-z]$`
	vpcPattern          = `^vpc-[0-9a-f]{8,17}$`
	subnetPattern       = `^subnet-[0-9a-f]{8,17}$`
	imagePattern        = `^ami-[0-9a-f]{8,17}$`
	bucketPattern       = `^[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]$`
	instanceTypePattern = `^[a-z][-a-z0-9]*\.[a-z0-9][-a-z0-9]*$`
	pathPattern         = `^[A-Za-z0-9_][-._A-Za-z0-9]*(/[A-Za-z0-9_][-._A-Za-z0-9]*)*$`
	certificatePattern  = `^arn:aws[-a-z]*:acm:[-a-z0-9]+:[0-9]{12}:certificate/[-0-9a-f]+$`
	repositoryPattern   = `^https://[-.A-Za-z0-9]+(:[0-9]+)?(/[-._~A-Za-z0-9]+)+$`
	devicePattern       = `^/dev/sd[f-p]$`
	taintPattern        = `^[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$`
	maxZones            = 3
	maxVolumeGiB        = 16384
	maxAWSService       = 11 // with the cluster's it is the name of a load balancer, which has at most 32 characters
)

var (
	region       = regexp.MustCompile(regionPattern)
	zone         = regexp.MustCompile(zonePattern)
	vpc          = regexp.MustCompile(vpcPattern)
	subnet       = regexp.MustCompile(subnetPattern)
	image        = regexp.MustCompile(imagePattern)
	bucket       = regexp.MustCompile(bucketPattern)
	instanceType = regexp.MustCompile(instanceTypePattern)
	certificate  = regexp.MustCompile(certificatePattern)
	repository   = regexp.MustCompile(repositoryPattern)
	repositoryAt = regexp.MustCompile(pathPattern)
	device       = regexp.MustCompile(devicePattern)
	taint        = regexp.MustCompile(taintPattern)
	graviton     = regexp.MustCompile(`^(a1|[a-z]+[0-9]+g[a-z]*)\.`)
)

// form checks a value that must be of a form, of which an example is given.
func (e *Errors) form(path string, form *regexp.Regexp, value, example string) bool {
	if form.MatchString(value) {
		return true
	}
	if value == "" {
		e.add(path, "is required, such as %s", example)
	} else {
		e.add(path, "must be such as %s, not %s", example, quote(value))
	}
	return false
}

func (e *Errors) aws(c *Cluster, undeclared int) {
	a := c.Spec.Provider.AWS
	if a == nil || !c.Spec.Provider.onAWS() {
		e.notAWS(c, undeclared)
		return
	}
	const path = "spec.provider.aws"
	located := e.form(path+".region", region, a.Region, "eu-central-1")
	seen := places{}
	for i, z := range a.Zones {
		at := fmt.Sprintf("%s.zones[%d]", path, i)
		if e.form(at, zone, z, "eu-central-1a") && located && z[:len(z)-1] != a.Region {
			e.add(at, "must be a zone of %s, not %s", a.Region, z)
		}
		e.once(seen, at, z)
	}
	if n := len(a.Zones); located && (n < 1 || n > maxZones) {
		e.add(path+".zones", "must be 1 to %d zones, not %d", maxZones, n)
	}
	if a.Image != "" {
		e.form(path+".image", image, a.Image, "ami-0123456789abcdef0")
	}
	if a.StateBucket != "" {
		e.form(path+".stateBucket", bucket, a.StateBucket, "example-ashlar-state")
	}
	if a.VPC != nil {
		e.existing(path+".vpc", a)
	}
	if j := a.Jenkins; j != nil {
		e.hubService(path+".jenkins.service", c, j.Service, "jenkins")
		e.form(path+".jenkins.repository", repository, j.Repository, "https://git.example.org/platform/clusters.git")
		e.form(path+".jenkins.branch", repositoryAt, j.Branch, "main")
		e.form(path+".jenkins.file", repositoryAt, j.File, "clusters/demo.yaml")
	}
	if f := a.Foreman; f != nil {
		e.hubService(path+".foreman.service", c, f.Service, "foreman")
		if a.Jenkins != nil && a.Jenkins.Service == f.Service && f.Service != "" {
			e.add(path+".foreman.service", "must not be that of jenkins, which is %s", f.Service)
		}
	}
	if n := c.Metadata.Name; n != "" && label.MatchString(n) && !strings.ContainsAny(n[:1], "abcdefghijklmnopqrstuvwxyz") {
		e.add("metadata.name", "must begin with a letter on aws, where load balancers are named after it")
	}
	for i, p := range c.Spec.Pools {
		at := fmt.Sprintf("spec.pools[%d]", i-undeclared)
		switch {
		case c.Spec.Provider.Managed(p.Role):
			e.add(at+".role", "must not be %s on aws, where that is a load balancer of AWS's own: leave the pool out", p.Role)
		case p.AWS != nil:
			e.awsPool(at+".aws", p)
		}
	}
	for i, s := range c.Spec.Exposure.Services {
		at := fmt.Sprintf("spec.exposure.services[%d]", i)
		switch {
		case len(s.Hostnames) > 0:
			e.add(at+".hostnames", "must be left out on aws, where each service has a load balancer, and a name, of its own")
		case s.CertificateARN != "":
			e.certificate(at+".certificateARN", s.CertificateARN, a.Region)
		case !s.Plaintext:
			e.add(at+".certificateARN", "is required unless plaintext is true: a load balancer of AWS's that does not end TLS cannot tell what it passes on")
		}
		if len(s.Name) > maxAWSService || s.Name != "" && strings.ContainsAny(s.Name[:1], "0123456789") {
			e.add(at+".name", "must begin with a letter and have at most %d characters on aws, where load balancers are named after it", maxAWSService)
		}
	}
}

// hubService checks what a machine of the hub is reached by.
func (e *Errors) hubService(path string, c *Cluster, name, example string) {
	services, pools := c.Spec.Exposure.Services, c.Spec.Pools
	i := slices.IndexFunc(services, func(s PublicService) bool { return s.Name == name })
	if i < 0 {
		e.add(path, "must be the name of one of spec.exposure.services, such as %s, not %s", example, quote(name))
		return
	}
	if services[i].CertificateARN == "" {
		e.add(path, "must be a service with a certificateARN: it is not served without TLS")
	}
	if p := slices.IndexFunc(pools, func(p Pool) bool { return p.Name == services[i].Pool }); p >= 0 && (pools[p].Role != RoleHub || pools[p].Count != 1) {
		e.add(path, "must be a service whose pool has one machine of role %s, which %s is not", RoleHub, pools[p].Name)
	}
}

// notAWS refuses what only machines on AWS can have.
func (e *Errors) notAWS(c *Cluster, undeclared int) {
	for i, p := range c.Spec.Pools {
		if p.AWS != nil {
			e.add(fmt.Sprintf("spec.pools[%d].aws", i-undeclared), "is for machines of provider aws; leave it out")
		}
	}
	for i, s := range c.Spec.Exposure.Services {
		if s.CertificateARN != "" {
			e.add(fmt.Sprintf("spec.exposure.services[%d].certificateARN", i), "is for provider aws; here the machines of the pool have the certificate")
		}
	}
}

// existing checks the network that is built in.
func (e *Errors) existing(path string, a *AWS) {
	e.form(path+".id", vpc, a.VPC.ID, "vpc-0123456789abcdef0")
	seen := places{}
	for _, kind := range []struct {
		path string
		ids  []string
	}{{path + ".publicSubnets", a.VPC.PublicSubnets}, {path + ".privateSubnets", a.VPC.PrivateSubnets}} {
		for i, id := range kind.ids {
			at := fmt.Sprintf("%s[%d]", kind.path, i)
			e.form(at, subnet, id, "subnet-0123456789abcdef0")
			e.once(seen, at, id)
		}
		if len(kind.ids) != len(a.Zones) {
			e.add(kind.path, "must be one subnet for each of the %d zones, in their order, not %d", len(a.Zones), len(kind.ids))
		}
	}
}

func (e *Errors) certificate(path, arn, region string) {
	if e.form(path, certificate, arn, "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef") &&
		strings.Split(arn, ":")[3] != region {
		e.add(path, "must be a certificate of region %s, where the load balancer is, not %s", region, strings.Split(arn, ":")[3])
	}
}

func (e *Errors) instanceType(path, value string) {
	if e.form(path, instanceType, value, "m6i.large") && graviton.MatchString(value) {
		e.add(path, "must be of the x86_64 kind, as the bundle's software is, not %s", value)
	}
}

func (e *Errors) awsPool(path string, p Pool) {
	a := p.AWS
	e.instanceType(path+".instanceType", a.InstanceType)
	e.gib(path+".volumeGiB", a.VolumeGiB, 8)
	if _, kept := dataVolumes[p.Role]; kept {
		e.gib(path+".dataVolumeGiB", a.DataVolumeGiB, 1)
	} else if a.DataVolumeGiB != 0 {
		e.add(path+".dataVolumeGiB", "is for pools of role %s and %s: what others have on disk can be had again", RoleVault, RoleEtcd)
	}
	for _, only := range []struct {
		field string
		set   bool
		roles []Role
	}{
		{"max", a.Max != 0, groupRoles}, {"extraVolumes", len(a.ExtraVolumes) > 0, groupRoles},
		{"spot", a.Spot, []Role{RoleWorker}}, {"labels", len(a.Labels) > 0, []Role{RoleWorker}}, {"taints", len(a.Taints) > 0, []Role{RoleWorker}},
	} {
		if only.set && !slices.Contains(only.roles, p.Role) {
			names := make([]string, len(only.roles))
			for i, role := range only.roles {
				names[i] = string(role)
			}
			e.add(path+"."+only.field, "is for pools of role %s, not %s", strings.Join(names, " and "), p.Role)
		}
	}
	if a.Max != 0 && a.Max < p.Count {
		e.add(path+".max", "must be at least count, which is %d, not %d", p.Count, a.Max)
	}
	seen := places{}
	for i, v := range a.ExtraVolumes {
		at := fmt.Sprintf("%s.extraVolumes[%d]", path, i)
		e.form(at+".device", device, v.Device, "/dev/sdf")
		e.once(seen, at+".device", v.Device)
		e.gib(at+".gib", v.GiB, 1)
	}
	e.labels(path+".labels", a.Labels)
	seen = places{}
	for i, t := range a.Taints {
		at := fmt.Sprintf("%s.taints[%d]", path, i)
		e.taint(at, t)
		e.once(seen, at, t)
	}
}

func (e *Errors) gib(path string, size, least int) {
	if size < least || size > maxVolumeGiB {
		e.add(path, "must be between %d and %d, not %d", least, maxVolumeGiB, size)
	}
}

// labels checks those that a node gives itself, against what NodeRestriction lets it.
func (e *Errors) labels(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := path + "[" + quote(key) + "]"
		domain, _, _ := strings.Cut(key, "/")
		of := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
		switch {
		case len(validation.IsQualifiedName(key)) > 0:
			e.add(at, "must be the name of a label, such as example.org/disk")
		case (of("kubernetes.io") || of("k8s.io")) && !of("node.kubernetes.io") && !of("kubelet.kubernetes.io"):
			e.add(at, "is Kubernetes' own, which a node may not give itself: use a domain of yours")
		}
		if value := labels[key]; len(validation.IsValidLabelValue(value)) > 0 {
			e.add(at, "must be the value of a label (letters, digits, dots, dashes and underscores; at most 63), not %s", quote(value))
		}
	}
}

func (e *Errors) taint(path, value string) {
	key, rest, _ := strings.Cut(value, ":")
	key, text, _ := strings.Cut(key, "=")
	if !taint.MatchString(value) || rest == "" || len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(text)) > 0 {
		e.add(path, "must be such as example.org/gpu=true:NoSchedule (or PreferNoSchedule, NoExecute), not %s", quote(value))
	}
}
