package local

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/provider"
)

// The edge is where the fabric meets the internet, which is 203.0.113.0/24 (TEST-NET-3 of RFC 5737) and whatever is
// trusted. Machines of public roles have an address there, translated one to one; all others share the NAT gateway's.
var (
	internetAddress = netip.MustParsePrefix("203.0.113.1/24")
	internetEdge    = netip.MustParsePrefix("203.0.113.254/24") // the fabric's side
	natGateway      = netip.MustParseAddr("203.0.113.253")
	firstPublic     = netip.MustParseAddr("203.0.113.16")
	// metadataService is where clouds tell each machine about itself. Nothing answers there unless somebody listens in the
	// fabric; machines reach it, as they would in a cloud.
	metadataService = netip.MustParseAddr("169.254.169.254")
)

const metadataPort = 80

// withPublic gives the machines of public roles their addresses, in the order of roles and names.
func withPublic(machines []provider.Machine) []provider.Machine {
	next := firstPublic
	order := make([]int, 0, len(machines))
	for i := range machines {
		machines[i].Public = netip.Addr{}
		if machines[i].Role.Public() {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(machines[a].Role, machines[b].Role), cmp.Compare(machines[a].Name, machines[b].Name))
	})
	for _, i := range order {
		machines[i].Public, next = next, next.Next()
	}
	return machines
}

// trustedAddress is the internet's address that is trusted, if any is: the first of the first range.
func trustedAddress(trusted []netip.Prefix) netip.Addr {
	if len(trusted) == 0 {
		return netip.Addr{}
	}
	p := trusted[0].Masked()
	switch {
	case p.Contains(internetAddress.Addr()):
		return internetAddress.Addr()
	case p.IsSingleIP():
		return p.Addr()
	}
	return p.Addr().Next()
}

// fromTrusted is where a connection begins that comes from the trusted address: nowhere special if there is none.
func (p *Provider) fromTrusted(network string) (net.Addr, error) {
	s, err := openSpace(p.internetNamespace())
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := s.observe(nil)
	if err != nil {
		return nil, err
	}
	extra := extraAddresses(have, nil, machineLink, internetAddress)
	switch {
	case len(extra) == 0:
		return nil, nil
	case strings.HasPrefix(network, "udp"):
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(extra[0].prefix.Addr(), 0)), nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(extra[0].prefix.Addr(), 0)), nil
}

// NATGateways implements provider.Provider.
func (p *Provider) NATGateways(context.Context) ([]netip.Addr, error) {
	return []netip.Addr{natGateway}, nil
}

// Listen implements provider.Provider.
func (p *Provider) Listen(ctx context.Context, vantage, network, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", vantage, err)
	}
	if host == "" && vantage == provider.FromInternet {
		host = internetAddress.Addr().String()
	}
	var l net.Listener
	err = p.RunIn(vantage, func() error {
		var c net.ListenConfig
		l, err = c.Listen(ctx, network, net.JoinHostPort(host, port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", vantage, err)
	}
	return l, nil
}

// edgeSide is what the fabric has for the public addresses: it answers for them.
func edgeSide(machines []provider.Machine) []part {
	out := []part{{kind: addressPart, link: internetLink, prefix: single(natGateway)}}
	for _, m := range machines {
		if m.Public.IsValid() {
			out = append(out, part{kind: addressPart, link: internetLink, prefix: single(m.Public)})
		}
	}
	return out
}

// trustedSide is the trusted address, in the internet's namespace.
func trustedSide(trusted []netip.Prefix) []part {
	a := trustedAddress(trusted)
	if !a.IsValid() || a == internetAddress.Addr() {
		return nil
	}
	return []part{{kind: addressPart, link: machineLink, prefix: single(a)}}
}

// translation renders NAT: a public address is its machine's, whoever has none leaves as the NAT gateway.
func translation(machines []provider.Machine) (in, out []string) {
	sorted := slices.SortedFunc(slices.Values(machines), func(a, b provider.Machine) int { return a.Public.Compare(b.Public) })
	for _, m := range sorted {
		if m.Public.IsValid() {
			in = append(in, fmt.Sprintf("iifname %q ip daddr %s dnat ip to %s comment %q", internetLink, m.Public, m.Address, m.Name))
			out = append(out, fmt.Sprintf("oifname %q ip saddr %s snat ip to %s comment %q", internetLink, m.Address, m.Public, m.Name))
		}
	}
	out = append(out, fmt.Sprintf("oifname %q iifname != %q snat ip to %s comment \"the NAT gateway\"", internetLink, internetLink, natGateway))
	return in, out
}
