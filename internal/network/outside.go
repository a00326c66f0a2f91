package network

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// beyond is what is no part of the cluster: the declared sets and ranges, the metadata address, and the rest.
func beyond(in *Inventory, declared v1alpha1.NetworkPolicy) []Class {
	var out []Class
	add := func(name string, kind Kind, address netip.Addr, ports []Port) {
		if address.IsValid() {
			out = append(out, Class{Name: name, Kind: kind, Ports: sortPorts(ports), Size: 1,
				Members: []Peer{{Name: name, Address: address}}})
		}
	}
	for _, s := range declared.Sets {
		var ports []Port
		for _, r := range declared.Rules {
			if r.To.Set == s.Name {
				ports = append(ports, rulePorts(r)...)
			}
		}
		add(setPrefix+s.Name, KindSet, firstOf(s.CIDRs, nil), ports)
	}
	named := map[string]bool{}
	for _, r := range declared.Rules {
		if name := strings.Join(r.To.CIDRs, ","); name != "" && !named[name] {
			named[name] = true
			add(name, KindRange, firstOf(r.To.CIDRs, r.To.Except), rulePorts(r))
		}
	}
	add("metadata", KindMetadata, Metadata.Addr(), []Port{{corev1.ProtocolTCP, 80}})
	for _, a := range in.Internet {
		if !slices.ContainsFunc(out, func(c Class) bool { return c.covers(declared, a) }) {
			add("internet", KindInternet, a, []Port{{corev1.ProtocolTCP, 443}})
			break
		}
	}
	return out
}

// covers says whether a declared set or range has an address.
func (c *Class) covers(declared v1alpha1.NetworkPolicy, a netip.Addr) bool {
	if name, ok := strings.CutPrefix(c.Name, setPrefix); ok {
		return slices.ContainsFunc(declared.Sets, func(s v1alpha1.AddressSet) bool { return s.Name == name && inCIDRs(s.CIDRs, a) })
	}
	return inCIDRs(strings.Split(c.Name, ","), a)
}

const setPrefix = "set "

// firstOf is an address within the ranges: the first that could be a host's and is not excepted.
func firstOf(cidrs, except []string) netip.Addr {
	const tries = 1 << 16
	for _, c := range cidrs {
		n, err := netip.ParsePrefix(c)
		if err != nil {
			continue
		}
		a := n.Masked().Addr()
		if !n.IsSingleIP() {
			a = a.Next()
		}
		for range tries {
			if !n.Contains(a) {
				break
			}
			if !inCIDRs(except, a) {
				return a
			}
			a = a.Next()
		}
	}
	return netip.Addr{}
}
