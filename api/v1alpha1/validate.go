package v1alpha1

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of a cluster.
const (
	MaxMachines          = 1000
	maxClusterName       = 20
	maxPoolName          = len(RoleControlPlane)
	maxClusterDomain     = 120 // <service>.<namespace>.svc.<domain> must be a DNS name of at most 253
	labelPattern         = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	clusterDomainPattern = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`
	versionPattern       = `^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$`
)

var (
	label         = regexp.MustCompile(labelPattern)
	clusterDomain = regexp.MustCompile(clusterDomainPattern)
	version       = regexp.MustCompile(versionPattern)
)

// Validate returns all that is wrong with a Cluster that has its defaults; nothing if it may be built.
// Whether the bundle has the Kubernetes version, and the host what it takes, is for the caller to find out.
func Validate(c *Cluster) Errors { return validate(c, 0) }

// validate is Validate for a cluster whose first pools are not declared: errors count the others from 0.
func validate(c *Cluster, undeclared int) Errors {
	var errs Errors
	if c.APIVersion != APIVersion {
		errs.add("apiVersion", "must be %s, not %s", APIVersion, quote(c.APIVersion))
	}
	if c.Kind != Kind {
		errs.add("kind", "must be %s, not %s", Kind, quote(c.Kind))
	}
	errs.name("metadata.name", c.Metadata.Name, maxClusterName)
	// A cluster's name is where its mounts in Vault begin, and there these are taken.
	if slices.Contains([]string{"audit", "auth", "cubbyhole", "identity", "sys"}, c.Metadata.Name) {
		errs.add("metadata.name", "must not be %s: Vault keeps that path for itself", c.Metadata.Name)
	}
	if !version.MatchString(c.Spec.KubernetesVersion) {
		errs.add("spec.kubernetesVersion", "must be a version such as v1.37.2, not %s", quote(c.Spec.KubernetesVersion))
	}
	errs.provider(c.Spec.Provider)
	errs.aws(c, undeclared)
	errs.pools(c.Spec, undeclared)
	errs.network(c)
	errs.isolation(c)
	errs.pods(c)
	errs.pki(c.Spec.PKI)
	errs.authentication(c)
	errs.authorization(c.Spec.Authorization)
	errs.ssh(c.Spec)
	errs.exposure(c)
	return errs
}

func (e *Errors) name(path, name string, most int) {
	switch {
	case name == "":
		e.add(path, "is required")
	case !label.MatchString(name):
		e.add(path, "must be a DNS label (lower-case letters and digits, dashes between them), not %s", quote(name))
	case len(name) > most:
		e.add(path, "must have at most %d characters, not %d", most, len(name))
	}
}

func (e *Errors) provider(p Provider) {
	switch {
	case p.Local != nil && p.AWS != nil:
		e.add("spec.provider", "must be one of local and aws, not both")
	case p.Local == nil && p.AWS == nil:
		e.add("spec.provider", "must say where machines come from, such as local: {}")
	}
}

// size is how many machines a role may have.
type size struct {
	allows func(int) bool
	rule   string
}

var (
	one       = size{func(n int) bool { return n == 1 }, "1"}
	some      = size{func(n int) bool { return n >= 1 }, "at least 1"}
	quorum    = size{func(n int) bool { return n == 1 || n == 3 || n == 5 }, "1, 3 or 5"}
	roleSizes = map[Role]size{RoleVault: quorum, RoleEtcd: quorum, RoleLB: one, RoleControlPlane: some, RoleWorker: some,
		RoleBastion: one, RolePublicLB: one, RoleHub: some}
	optional = []Role{RoleBastion, RolePublicLB, RoleHub}
)

func (e *Errors) pools(s Spec, undeclared int) {
	pools := s.Pools
	path := func(i int) string { return fmt.Sprintf("spec.pools[%d]", i-undeclared) }
	names := map[string]int{}
	ofRole := map[Role][]int{}
	unknownRole := false
	for i, p := range pools {
		e.name(path(i)+".name", p.Name, maxPoolName)
		// Machines are called <pool>-<n>, so that unique pools make unique machines.
		if first, taken := names[p.Name]; taken && p.Name != "" {
			e.add(path(i)+".name", "%s is already the name of %s", quote(p.Name), path(first))
		} else if i >= undeclared {
			names[p.Name] = i
		}
		if _, known := roleSizes[p.Role]; !known {
			e.add(path(i)+".role", "must be %s, not %s", oneOf(Roles), quote(string(p.Role)))
			unknownRole = true
			if p.Count < 1 {
				e.add(path(i)+".count", "must be %s, not %d", some.rule, p.Count)
			}
			continue
		}
		// Or else a pool of the file could take the name of one that Default adds.
		if _, isRole := roleSizes[Role(p.Name)]; isRole && p.Name != string(p.Role) {
			e.add(path(i)+".name", "must not be the name of another role, as the pool's is %s", p.Role)
		}
		ofRole[p.Role] = append(ofRole[p.Role], i)
		e.localPool(path(i)+".local", s.Provider, p.Local)
	}
	for _, role := range Roles {
		if len(ofRole[role]) > 0 {
			e.counts(pools, role, ofRole[role], path)
		} else if !unknownRole && !slices.Contains(optional, role) && !s.Provider.Managed(role) {
			e.add("spec.pools", "must have a pool of role %s", role)
		}
	}
	if machines(pools) > MaxMachines {
		e.add("spec.pools", "must have at most %d machines in all", MaxMachines)
	}
}

// counts checks the pools of one role, alone and together.
func (e *Errors) counts(pools []Pool, role Role, which []int, path func(int) string) {
	total, valid, size := 0, true, roleSizes[role]
	for _, i := range which {
		n := pools[i].Count
		if n < 1 {
			e.add(path(i)+".count", "must be %s, not %d", size.rule, n)
			valid = false
		}
		total += min(n, MaxMachines+1) // no overflow
	}
	last := which[len(which)-1]
	switch {
	case !valid || size.allows(total):
	case len(which) == 1:
		e.add(path(last)+".count", "must be %s, not %d", size.rule, pools[last].Count)
	default:
		e.add(path(last)+".count", "must make the machines of role %s %s in all pools together, not %d", role, size.rule, total)
	}
}

// machines counts those of some roles, or of all, without making them: a file may declare as many as an int can.
func machines(pools []Pool, roles ...Role) int {
	n := 0
	for _, p := range pools {
		if len(roles) == 0 || slices.Contains(roles, p.Role) {
			n += max(0, min(p.Most(), MaxMachines+1))
		}
	}
	return n
}

// oneOf lists what a field may be.
func oneOf[T ~string](values []T) string {
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// reserved ranges can carry no cluster.
var reserved = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses and cloud metadata"},
	{netip.MustParsePrefix("203.0.113.0/24"), "the internet side of the local fabric"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
}

func (e *Errors) network(c *Cluster) {
	type addressRange struct {
		path, value       string
		widest, narrowest int // as bits of the mask
	}
	var ranges []addressRange
	switch p := c.Spec.Provider; {
	case p.Local != nil:
		ranges = append(ranges, addressRange{"spec.provider.local.machineCIDR", p.Local.MachineCIDR, 8, 32})
	case p.AWS != nil && p.AWS.VPC != nil:
		ranges = append(ranges, addressRange{"spec.provider.aws.vpcCIDR", p.AWS.VPCCIDR, 16, 28}) // as AWS has them
	case p.AWS != nil:
		ranges = append(ranges, addressRange{"spec.provider.aws.vpcCIDR", p.AWS.VPCCIDR, 16, 22})
	}
	ranges = append(ranges,
		addressRange{"spec.network.podCIDR", c.Spec.Network.PodCIDR, 8, 20},
		// The API server refuses more than a /12; in less than a /24 a cluster soon runs out of Services.
		addressRange{"spec.network.serviceCIDR", c.Spec.Network.ServiceCIDR, 12, 24})
	parsed := map[string]netip.Prefix{}
	for i, r := range ranges {
		prefix, ok := e.cidr(r.path, r.value, r.widest, r.narrowest)
		if !ok {
			continue
		}
		for _, other := range ranges[:i] {
			if p, ok := parsed[other.path]; ok && p.Overlaps(prefix) {
				e.add(r.path, "%s overlaps %s, which is %s", prefix, other.path, p)
			}
		}
		parsed[r.path] = prefix
	}
	e.room(c, parsed)
	if d := c.Spec.Network.ClusterDomain; !clusterDomain.MatchString(d) || len(d) > maxClusterDomain {
		e.add("spec.network.clusterDomain", "must be a DNS name such as cluster.local (lower case, at most %d characters), not %s", maxClusterDomain, quote(d))
	}
}

func (e *Errors) cidr(path, value string, widest, narrowest int) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is4() {
		e.add(path, "must be an IPv4 range such as 10.20.0.0/16, not %s", quote(value))
		return p, false
	}
	if p != p.Masked() {
		e.add(path, "must begin at the first address of its range: %s, not %s", p.Masked(), p)
		return p, false
	}
	for _, r := range reserved {
		if r.prefix.Overlaps(p) {
			e.add(path, "must not overlap %s (%s)", r.prefix, r.what)
			return p, false
		}
	}
	if p.Bits() < widest || p.Bits() > narrowest {
		e.add(path, "must be a range between /%d and /%d, not /%d", widest, narrowest, p.Bits())
	}
	return p, true
}

// room checks that each machine finds an address, and each worker a block of them for its pods.
func (e *Errors) room(c *Cluster, parsed map[string]netip.Prefix) {
	all, workers := machines(c.Spec.Pools), machines(c.Spec.Pools, RoleWorker)
	if all > MaxMachines {
		return // which is the error to report
	}
	// The first and the last address of a network are nobody's, the next is the operator's.
	const path, taken = "spec.provider.local.machineCIDR", 3
	if p, ok := parsed[path]; ok && 1<<(32-p.Bits()) < all+taken {
		e.add(path, "%s is too small for %d machines and the %d addresses that no machine can have", p, all, taken)
	}
	const pods, block = "spec.network.podCIDR", 26 // Calico's IPAM gives addresses to nodes by the /26
	if p, ok := parsed[pods]; ok && p.Bits() <= block && 1<<(block-p.Bits()) < workers {
		e.add(pods, "%s is too small for %d workers, which take a /%d each", p, workers, block)
	}
}

func (e *Errors) pki(p PKI) {
	ca := p.CATTL.Duration
	e.ttl("spec.pki.caTTL", ca, time.Minute, 0, 0)
	// client-go looks for a renewed certificate every five minutes, and renewal comes at half of the life.
	e.ttl("spec.pki.leafTTL", p.LeafTTL.Duration, 15*time.Minute, 0, ca)
	e.ttl("spec.pki.initTokenTTL", p.InitTokenTTL.Duration, 30*time.Second, time.Hour, 0)
	e.ttl("spec.pki.adminTTL", p.AdminTTL.Duration, 5*time.Minute, 24*time.Hour, ca)
}

// ttl checks a lifetime against what is sensible and against that of the CA; 0 is no limit.
func (e *Errors) ttl(path string, d, least, most, ca time.Duration) {
	switch {
	case d < least && most == 0:
		e.add(path, "must be at least %s, not %s", short(least), short(d))
	case d < least, most > 0 && d > most:
		e.add(path, "must be between %s and %s, not %s", short(least), short(most), short(d))
	case d%time.Second != 0:
		e.add(path, "must be whole seconds, as Vault counts, not %s", d)
	case ca > 0 && d >= ca:
		e.add(path, "must be shorter than spec.pki.caTTL, which is %s, not %s", short(ca), short(d))
	}
}

// short writes a duration as people do: 24h, not 24h0m0s.
func short(d time.Duration) string {
	switch {
	case d != 0 && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d != 0 && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}
