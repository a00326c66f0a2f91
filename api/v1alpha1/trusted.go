package v1alpha1

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Everybody is the range that every address of the internet is in.
var Everybody = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// Public says whether machines of the role have a public address. All others reach the outside through NAT, if at all.
func (r Role) Public() bool { return r == RoleBastion || r == RolePublicLB }

// Trusted are the ranges of a valid Exposure.
func (e Exposure) Trusted() []netip.Prefix {
	var out []netip.Prefix
	for _, c := range e.TrustedCIDRs {
		if p, err := netip.ParsePrefix(c); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// ToEverybody says whether all of the internet reaches what is public.
func (e Exposure) ToEverybody() bool { return slices.Contains(e.Trusted(), Everybody) }

// Ports are those of the public load balancer, once each, in the order of the services.
func (e Exposure) Ports() []int {
	var out []int
	for _, s := range e.Services {
		if !slices.Contains(out, s.Port) {
			out = append(out, s.Port)
		}
	}
	return out
}

// On names the services on a port.
func (e Exposure) On(port int) string {
	var names []string
	for _, s := range e.Services {
		if s.Port == port {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}

func (e *Errors) exposure(c *Cluster) {
	x := c.Spec.Exposure
	e.trusted(c, x)
	names := places{}
	for i, s := range x.Services {
		path := fmt.Sprintf("spec.exposure.services[%d]", i)
		e.name(path+".name", s.Name, maxNamespace)
		e.once(names, path+".name", s.Name)
		e.port(path+".port", s.Port)
		if s.TargetPort != s.Port { // or what was left out would have the same error again
			e.port(path+".targetPort", s.TargetPort)
		}
		if s.Port == PortSSH {
			e.add(path+".port", "must not be %d: that is the bastion's", PortSSH)
		}
		pool := slices.IndexFunc(c.Spec.Pools, func(p Pool) bool { return p.Name == s.Pool })
		switch {
		case pool < 0:
			e.add(path+".pool", "must be the name of a pool of role %s or %s, not %s", RoleHub, RoleWorker, quote(s.Pool))
		case c.Spec.Pools[pool].Role != RoleHub && c.Spec.Pools[pool].Role != RoleWorker:
			e.add(path+".pool", "must be a pool of role %s or %s; the machines of %s are of role %s, which is never public", RoleHub, RoleWorker, s.Pool, c.Spec.Pools[pool].Role)
		case c.Spec.Pools[pool].Role == RoleWorker && slices.Contains(workerPorts, s.TargetPort):
			e.add(path+".targetPort", "must not be %d: workers use that port themselves", s.TargetPort)
		}
	}
	if c.Spec.Provider.AWS == nil {
		e.sharing(x.Services)
	}
	if len(x.Services) == 0 && c.Spec.Provider.AWS == nil && machines(c.Spec.Pools, RolePublicLB) > 0 {
		e.add("spec.exposure.services", "must name a service where a pool of role %s is declared", RolePublicLB)
	}
}

// sharing checks by what services are told apart that have a port together: by the name that a client asks for.
func (e *Errors) sharing(services []PublicService) {
	on, named := map[int]int{}, map[int]places{}
	for i, s := range services {
		path := fmt.Sprintf("spec.exposure.services[%d]", i)
		if first, taken := on[s.Port]; taken {
			switch {
			case len(s.Hostnames) == 0:
				e.add(path+".port", "%d is already the port of spec.exposure.services[%d]: to share it, both need hostnames", s.Port, first)
			case len(services[first].Hostnames) == 0:
				e.add(path+".port", "%d is already the port of spec.exposure.services[%d], which has no hostnames and takes all", s.Port, first)
			}
		} else {
			on[s.Port], named[s.Port] = i, places{}
		}
		if s.Plaintext && len(s.Hostnames) > 0 {
			e.add(path+".plaintext", "must not be true with hostnames: a client says a name only where it begins with TLS")
		}
		for j, h := range s.Hostnames {
			at := fmt.Sprintf("%s.hostnames[%d]", path, j)
			if len(h) > 253 || !hostname.MatchString(h) || isAddress(h) {
				e.add(at, "must be a DNS name in lower case, such as jenkins.example.org, not %s", quote(h))
				continue
			}
			e.once(named[s.Port], at, h)
		}
	}
}

// hostnamePattern is a DNS name: labels, with dots between them.
const hostnamePattern = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`

var hostname = regexp.MustCompile(hostnamePattern)

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// PortSSH is where machines take SSH; of the bastion, the internet too.
const PortSSH = 22

// workerPorts are those of a worker's own doors: SSH, the kubelet, the overlay network.
var workerPorts = []int{PortSSH, 10250, 4789}

func (e *Errors) port(path string, port int) {
	if port < 1 || port > 65535 {
		e.add(path, "must be between 1 and 65535, not %d", port)
	}
}

// trusted checks the ranges of the internet, which cannot be the cluster's own.
func (e *Errors) trusted(c *Cluster, x Exposure) {
	const path = "spec.exposure.trustedCIDRs"
	public := machines(c.Spec.Pools, RoleBastion) > 0 || len(x.Services) > 0
	if public && len(x.TrustedCIDRs) == 0 {
		e.add(path, "is required where something is public: the addresses that may reach it, such as 198.51.100.0/24; everybody is %s", Everybody)
	}
	for i, value := range x.TrustedCIDRs {
		at := fmt.Sprintf("%s[%d]", path, i)
		if value == Everybody.String() {
			if !x.AcknowledgeEverybody {
				e.add(at, "is everybody on the internet: if that is meant, say so with spec.exposure.acknowledgeEverybody: true")
			}
			continue
		}
		if p, err := netip.ParsePrefix(value); err == nil && p.Addr().Is6() {
			e.add(at, "must be IPv4, not %s: nothing public has an IPv6 address, and so nothing is reached from one", p)
			continue
		}
		p, ok := e.cidr(at, value, 1, 32)
		if !ok {
			continue
		}
		for _, own := range []string{c.Spec.Network.PodCIDR, c.Spec.Network.ServiceCIDR, c.Spec.Provider.MachineCIDR()} {
			if o, err := netip.ParsePrefix(own); err == nil && o.Overlaps(p) {
				e.add(at, "must not overlap %s, which is inside the cluster", o)
			}
		}
		for _, earlier := range x.TrustedCIDRs[:i] {
			if o, err := netip.ParsePrefix(earlier); err == nil && o != Everybody && o.Overlaps(p) {
				e.add(at, "%s overlaps %s, which is named already", p, o)
			}
		}
	}
	if x.AcknowledgeEverybody && !x.ToEverybody() {
		e.add("spec.exposure.acknowledgeEverybody", "must not be true while trustedCIDRs does not hold %s: it would be acknowledged before it is declared", Everybody)
	}
}
