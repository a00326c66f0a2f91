package local

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
)

// The fabric is a network namespace that routes between machines: every machine hangs on a link of its own with a
// /32 route, so that whatever passes between two of them passes through the fabric's rules. A second namespace is
// the internet: outside, but knowing our addresses.
const (
	machineLink  = "eth0"
	internetLink = "internet" // no machine's: those end in a number
)

var gateway = netip.MustParseAddr("169.254.1.1") // of every machine, on its own link

// part is one thing that a namespace has; each kind uses its own fields.
type part struct {
	kind   kind
	link   string       // of a link, an address, a route
	prefix netip.Prefix // of an address; the destination of a route
	via    netip.Addr   // of a route: the gateway, invalid if there is none
	source netip.Addr   // of a route: what connections come from, invalid if it does not say
	key    string       // of a sysctl
	value  string
}

type kind string

const (
	linkPart    kind = "link"
	addressPart kind = "address"
	routePart   kind = "route"
	sysctlPart  kind = "sysctl"
)

func (t part) String() string {
	switch t.kind {
	case addressPart:
		return fmt.Sprintf("address %s on %s", t.prefix, t.link)
	case routePart:
		return fmt.Sprintf("route to %s by %s", t.prefix, t.link)
	case sysctlPart:
		return fmt.Sprintf("sysctl %s=%s", t.key, t.value)
	}
	return fmt.Sprintf("%s %s", t.kind, t.link)
}

// missing are the wanted parts that are not there, in the order to make them.
func missing(want []part, have map[part]bool) []part {
	var out []part
	for _, t := range want {
		if !have[t] {
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b part) int { return cmp.Compare(rank[a.kind], rank[b.kind]) })
	return out
}

// rank has forwarding come last, when all else is in place.
var rank = map[kind]int{linkPart: 0, addressPart: 1, routePart: 2, sysctlPart: 3}

// fabricBase is what the fabric has besides machines.
func (p *Provider) fabricBase() []part {
	return []part{
		{kind: linkPart, link: "lo"},
		{kind: addressPart, link: "lo", prefix: single(p.operatorAddress())},
		{kind: addressPart, link: "lo", prefix: single(metadataService)},
		{kind: linkPart, link: internetLink},
		{kind: addressPart, link: internetLink, prefix: internetEdge},
		// What is for nobody here goes out, as it would anywhere, and is refused by the rules: at once and every time,
		// where the kernel would limit its own answer that there is no route.
		{kind: routePart, link: internetLink, prefix: anywhere, via: internetAddress.Addr()},
		// A machine, or the internet, cannot pretend to have somebody else's address.
		{kind: sysctlPart, key: "net/ipv4/conf/all/rp_filter", value: "1"},
		{kind: sysctlPart, key: "net/ipv4/conf/default/rp_filter", value: "1"},
		// Every refusal is told at once: the kernel's limit of one a second would make the rest look like lost packets.
		{kind: sysctlPart, key: "net/ipv4/icmp_ratemask", value: "0"},
		{kind: sysctlPart, key: "net/ipv6/conf/all/disable_ipv6", value: "1"},
		{kind: sysctlPart, key: "net/ipv6/conf/default/disable_ipv6", value: "1"},
		{kind: sysctlPart, key: "net/ipv4/ip_forward", value: "1"},
	}
}

// fabricSide is what the fabric has of one machine.
func (p *Provider) fabricSide(name string, address netip.Addr) []part {
	link := fabricLink(name)
	return []part{
		{kind: linkPart, link: link},
		{kind: addressPart, link: link, prefix: single(gateway)},
		{kind: routePart, link: link, prefix: single(address), source: p.operatorAddress()},
	}
}

// machineSide is what a machine's own namespace has from us. What else is there is the machine's.
func machineSide(address netip.Addr) []part {
	return []part{
		{kind: linkPart, link: "lo"},
		{kind: linkPart, link: machineLink},
		{kind: addressPart, link: machineLink, prefix: single(address)},
		{kind: routePart, link: machineLink, prefix: anywhere, via: gateway},
	}
}

// machineDefaults are sysctls that a machine starts with, whatever the host has; it may change them.
var machineDefaults = []part{
	{kind: sysctlPart, key: "net/ipv4/ip_forward", value: "1"},
	{kind: sysctlPart, key: "net/ipv4/conf/all/rp_filter", value: "1"},
	{kind: sysctlPart, key: "net/ipv4/conf/default/rp_filter", value: "1"},
}

func (p *Provider) internetSide() []part {
	return []part{
		{kind: linkPart, link: "lo"},
		{kind: linkPart, link: machineLink},
		{kind: addressPart, link: machineLink, prefix: internetAddress},
		{kind: routePart, link: machineLink, prefix: p.MachineCIDR, via: internetEdge.Addr()},
	}
}

var anywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// maxLinkName is IFNAMSIZ without its NUL.
const maxLinkName = 15

// fabricLink names the fabric's end of a machine's link: like the machine, if Linux lets it.
func fabricLink(name string) string {
	if len(name) <= maxLinkName && name != internetLink && name != "lo" {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "m-" + hex.EncodeToString(sum[:])[:maxLinkName-2]
}
