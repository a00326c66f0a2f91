package claim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/exposure"

	"ashlar.dev/ashlar/internal/scan"
	"ashlar.dev/ashlar/internal/unit"
)

// inside is a provider that can run something where a connection would be opened.
type inside interface {
	RunIn(vantage string, f func() error) error
}

// Scanned is what a scan asked and what answered.
type Scanned struct {
	Public, Private []netip.Addr
	PublicPorts     []uint16 // of TCP
	PrivatePorts    []uint16
	Answers         []scan.Answer
	UDP             []netip.AddrPort // that answered
	UDPPorts        []uint16
}

// EveryPort is all that TCP has.
func EveryPort() []uint16 {
	out := make([]uint16, 0, math.MaxUint16)
	for p := 1; p <= math.MaxUint16; p++ {
		out = append(out, uint16(p))
	}
	return out
}

// knownPorts are those that something of ours listens on, and what people run beside it.
func (t *Target) knownPorts() []uint16 {
	out := []uint16{22, 53, 80, 443, 8080, 8443, 9090, 10249, 10256, 30000, 32767,
		unit.PortVault, unit.PortVaultCluster, unit.PortAPIServer, unit.PortKubelet, unit.PortVXLAN, unit.PortWebhook}
	for _, c := range unit.EtcdClusters {
		out = append(out, uint16(c.ClientPort), uint16(c.PeerPort), uint16(c.Metrics))
	}
	for _, s := range t.Spec.Spec.Exposure.Services {
		out = append(out, uint16(s.Port), uint16(s.TargetPort))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scan asks all ports of the public addresses, and of all others those that are known.
func (t *Target) scan(ctx context.Context, vantage string) (*Scanned, error) {
	return t.Scan(ctx, vantage, t.knownPorts())
}

// Scan asks all TCP ports of the public addresses, these of all others, and of both the known ones of UDP.
func (t *Target) Scan(ctx context.Context, vantage string, ports []uint16) (*Scanned, error) {
	g, err := t.Provider.Graph(ctx)
	if err != nil {
		return nil, err
	}
	s := &Scanned{PublicPorts: EveryPort(), PrivatePorts: ports, UDPPorts: t.knownPorts()}
	for _, m := range t.Machines {
		if m.Public.IsValid() {
			s.Public = append(s.Public, m.Public)
		}
	}
	for _, a := range internetAddresses(g) {
		if !slices.Contains(s.Public, a) {
			s.Private = append(s.Private, a)
		}
	}
	for _, part := range []struct {
		addresses []netip.Addr
		ports     []uint16
	}{{s.Public, s.PublicPorts}, {s.Private, s.PrivatePorts}} {
		answers, err := t.tcp(ctx, vantage, part.addresses, part.ports)
		if err != nil {
			return nil, err
		}
		s.Answers = append(s.Answers, answers...)
	}
	s.UDP, err = t.udp(ctx, vantage, slices.Concat(s.Public, s.Private), s.UDPPorts)
	return s, err
}

// tcp scans from the address that the provider would connect from.
func (t *Target) tcp(ctx context.Context, vantage string, addresses []netip.Addr, ports []uint16) ([]scan.Answer, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	p, ok := t.Provider.(inside)
	if !ok {
		return nil, fmt.Errorf("scan from %s: this provider cannot run anything there", vantage)
	}
	conn, err := t.Provider.Dial(ctx, vantage, "udp", netip.AddrPortFrom(addresses[0], 9).String()) // sends nothing
	if err != nil {
		return nil, fmt.Errorf("scan from %s: %w", vantage, err)
	}
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if e := conn.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	var socket *scan.Socket
	err = p.RunIn(vantage, func() error {
		socket, err = scan.Open(from.Addr())
		return err
	})
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	return socket.TCP(ctx, addresses, ports)
}

// udp sends to each port and waits for whatever comes back: an answer, or that nobody listens.
func (t *Target) udp(ctx context.Context, vantage string, addresses []netip.Addr, ports []uint16) ([]netip.AddrPort, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(256)
	found := make(chan netip.AddrPort, len(addresses)*len(ports))
	for _, a := range addresses {
		for _, port := range ports {
			g.Go(func() error {
				to := netip.AddrPortFrom(a, port)
				conn, err := t.Provider.Dial(ctx, vantage, "udp", to.String())
				switch {
				case errors.Is(err, syscall.ENETUNREACH):
					return nil // not even the way there is known: an address of pods
				case err != nil:
					return err
				}
				defer conn.Close()
				if replies(conn) {
					found <- to
				}
				return nil
			})
		}
	}
	err := g.Wait()
	close(found)
	var out []netip.AddrPort
	for to := range found {
		out = append(out, to)
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out, err
}

// replies says whether anything comes back: an error is the kernel's, of a refusal by whoever has the address.
func replies(conn net.Conn) bool {
	if _, err := conn.Write([]byte("ashlar")); err != nil {
		return refusedByPeer(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err == nil || refusedByPeer(err)
}

// evidence holds a scan against what is declared: an entry for each that is, and one for all others of each address.
func (s *Scanned) evidence(vantage string, declared []exposure.Declared) []Evidence {
	var out []Evidence
	isDeclared := func(at netip.AddrPort) bool {
		return slices.ContainsFunc(declared, func(d exposure.Declared) bool { return netip.AddrPortFrom(d.Address, d.Port) == at })
	}
	for _, d := range declared {
		at := netip.AddrPortFrom(d.Address, d.Port)
		err := fmt.Errorf("no answer")
		if slices.ContainsFunc(s.Answers, func(a scan.Answer) bool { return a.AddrPort == at }) {
			err = nil
		}
		out = append(out, attempt(fmt.Sprintf("connect to %s at %s", d.Name, at), vantage, "anybody", Allowed, err))
	}
	add := func(what string, ports []uint16, a netip.Addr, answered []string) {
		e := attempt(fmt.Sprintf("ask %d %s ports of %s", len(ports), what, a), vantage, "anybody", Refused, fmt.Errorf("none answered that is not declared"))
		if len(answered) > 0 {
			e.Got, e.Answer = Allowed, "answers came from "+strings.Join(answered, ", ")
		}
		out = append(out, e)
	}
	for _, a := range slices.Concat(s.Public, s.Private) {
		ports := s.PublicPorts
		if !slices.Contains(s.Public, a) {
			ports = s.PrivatePorts
		}
		var tcp, udp []string
		for _, answer := range s.Answers {
			if answer.Addr() == a && !isDeclared(answer.AddrPort) {
				tcp = append(tcp, answer.String())
			}
		}
		for _, at := range s.UDP {
			if at.Addr() == a {
				udp = append(udp, at.String())
			}
		}
		add("TCP", ports, a, tcp)
		add("UDP", s.UDPPorts, a, udp)
	}
	return out
}

// refusedByPeer says whether whoever has an address said that nobody listens.
func refusedByPeer(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
