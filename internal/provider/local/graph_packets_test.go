package local

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// filters are rulesets of the fabric, with what is in front of them and, for those that cannot be understood in full, that so.
// B, W and L are the addresses of the machines, P the bastion's public one.
var filters = []struct {
	name, prerouting, forward, more string
	perhaps                         bool
}{
	{name: "nothing"},
	{name: "a port", forward: `iifname "internet" udp dport 22 accept`},
	{name: "another link", forward: `iifname != "internet" accept; iifname "lo" accept; iifname "bastion*" accept`},
	{name: "the way out", forward: `oifname "worker-0" accept`},
	{name: "no source but the trusted", forward: `ip saddr @trusted ip daddr W accept`},
	{name: "any source but the trusted", forward: `ip saddr != @trusted udp dport != 53 accept`},
	{name: "sets and ranges", forward: `udp dport { 20-30, 8080 } ip daddr { W, L } accept`},
	{name: "several fields", forward: `ip daddr . udp dport { W . 22, L . 50-60 } accept`},
	{name: "translated", prerouting: `ip daddr P dnat ip to B`, forward: `ct status dnat udp dport 22 accept`},
	{name: "not translated", prerouting: `ip daddr P dnat ip to B`, forward: `ct status ! dnat accept`},
	{name: "to another port", prerouting: `ip daddr 203.0.113.253 udp dport 53 dnat ip to W:8080`, forward: `udp dport 8080 accept`},
	{name: "by a map", prerouting: `dnat ip to ip daddr map { P : W, 203.0.113.253 : L }`, forward: `ct status dnat accept`},
	{name: "two translations", prerouting: `ip daddr P udp dport 22 dnat ip to W; ip daddr P dnat ip to B`, forward: `ct status dnat accept`},
	{name: "to itself", prerouting: `ip daddr P udp dport 22 redirect to :53`, forward: `accept`},
	{name: "jump", more: `chain other { udp dport 22 return; udp dport 53 accept; }`, forward: `ip daddr W jump other; ip daddr W accept`},
	{name: "goto", more: `chain other { udp dport 22 return; udp dport 53 accept; }`, forward: `ip daddr W goto other; ip daddr W accept`},
	{name: "verdicts", more: `chain other { ip daddr W accept; }`, forward: `udp dport vmap { 22 : accept, 53 : drop, 8080 : jump other }; ip daddr L accept`},
	{name: "a named map of verdicts", more: `map doors { type inet_service : verdict; elements = { 22 : accept }; }`, forward: `udp dport vmap @doors`},
	{name: "new connections", forward: `ct state new udp dport >= 1000 accept; ct state != established udp dport < 30 accept`},
	{name: "no new ones", forward: `ct state established accept; ct state related accept; ct state != new accept`},
	{name: "families", forward: `meta nfproto ipv6 accept; meta nfproto ipv4 meta l4proto udp th dport 53 accept`},
	{name: "protocols", forward: `ip protocol tcp accept; meta l4proto { icmp, udp } ip daddr L accept`},
	{name: "drop first", forward: `udp dport 22 drop; ip daddr W reject; accept`},
	{name: "two chains", more: `chain second { type filter hook forward priority 10; policy drop; udp dport 53 accept; }`, forward: `ip daddr W accept`},
	{name: "an earlier hook", more: `chain first { type filter hook prerouting priority raw; policy accept; ip saddr @trusted drop; }`, forward: `ip daddr L accept`},
	{name: "a mark", forward: `meta mark 1 accept; udp dport 22 limit rate 1/second accept`, perhaps: true},
	{name: "a source port", forward: `udp sport 1-65535 ip daddr L accept`, perhaps: true},
	{name: "a number drawn", prerouting: `ip daddr P dnat ip to numgen inc mod 2 map { 0 : W, 1 : L }`, forward: `accept`, perhaps: true},
}

// TestGraphAgainstPackets: what the graph says is reached is what real packets reach, through the kernel's own rules.
func TestGraphAgainstPackets(t *testing.T) {
	p, machines := wired(t, guarded, provider.Network{Trusted: someTrusted})
	bastion, worker, lb := byRole(t, machines, v1alpha1.RoleBastion), byRole(t, machines, v1alpha1.RoleWorker), byRole(t, machines, v1alpha1.RoleLB)
	arrived := receivers(t, p, machines, "udp4")
	names := strings.NewReplacer(" B", " "+bastion.Address.String(), " W", " "+worker.Address.String(), " L", " "+lb.Address.String(),
		" P", " "+bastion.Public.String())
	packets := probes(bastion.Public, netip.MustParseAddr("203.0.113.253"), bastion.Address, worker.Address, lb.Address)
	for _, f := range filters {
		rules := names.Replace(fmt.Sprintf(`flush ruleset
table inet test {
	set trusted { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }
	%s
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; %s; }
	chain forward { type filter hook forward priority filter; policy drop; %s; }
	chain input { type filter hook input priority filter; policy drop; }
}
`, f.more, f.prerouting, f.forward))
		if err := loadRules(t.Context(), p.fabricNamespace(), strings.ReplaceAll(rules, "; ; }", "; }")); err != nil {
			t.Fatalf("%s: %v\n%s", f.name, err, rules)
		}
		sure, perhaps := predicted(surfaceOf(t, p), packets)
		if got := sendAll(t, p, packets, arrived, sure); f.perhaps {
			for _, a := range got {
				if !slices.Contains(perhaps, a) {
					t.Errorf("%s: %s, which cannot be by the graph", f.name, a)
				}
			}
		} else if !slices.Equal(got, sure) || len(perhaps) != len(sure) {
			t.Errorf("%s:\npackets %v\ngraph   %v\nperhaps %v", f.name, got, sure, perhaps)
		}
	}
}

var probePorts = []uint16{22, 53, 8080}

func probes(to ...netip.Addr) []exposure.Packet {
	var out []exposure.Packet
	for _, from := range []string{"203.0.113.1", "198.51.100.1"} {
		for _, to := range to {
			for _, port := range probePorts {
				out = append(out, exposure.Packet{Source: netip.MustParseAddr(from), Destination: to, Protocol: exposure.UDP, Port: port})
			}
		}
	}
	return out
}

func arrival(p exposure.Packet, node string, port uint16) string {
	return fmt.Sprintf("%s → %s:%d reaches %s:%d", p.Source, p.Destination, p.Port, node, port)
}

// predicted are the arrivals by the graph: those that are sure, and all that may be.
func predicted(s exposure.Surface, packets []exposure.Packet) (sure, perhaps []string) {
	for _, p := range packets {
		for _, e := range s {
			if e.Packets.Contains(p) {
				port := p.Port
				if e.Port != 0 {
					port = e.Port
				}
				perhaps = append(perhaps, arrival(p, e.Node, port))
				if !e.Maybe {
					sure = append(sure, arrival(p, e.Node, port))
				}
			}
		}
	}
	slices.Sort(sure)
	slices.Sort(perhaps)
	return slices.Compact(sure), slices.Compact(perhaps)
}

// receivers listen on all machines, and tell what they get: the packet says which it is.
func receivers(t *testing.T, p *Provider, machines []provider.Machine, network string) <-chan string {
	t.Helper()
	out := make(chan string, 1000)
	for _, m := range machines {
		for _, port := range probePorts {
			var conn net.PacketConn
			err := p.RunIn(m.Name, func() (err error) {
				conn, err = net.ListenPacket(network, fmt.Sprintf(":%d", port))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				for b := make([]byte, 200); ; {
					n, _, err := conn.ReadFrom(b)
					if err != nil {
						return
					}
					out <- string(b[:n]) + fmt.Sprintf(" reaches %s:%d", m.Name, port)
				}
			}()
		}
	}
	return out
}

// sendAll sends each packet from a port of its own, and returns what arrived: at least as long as what must is not all there.
func sendAll(t *testing.T, p *Provider, packets []exposure.Packet, arrived <-chan string, must []string) []string {
	t.Helper()
	for _, packet := range packets {
		err := p.RunIn(provider.FromInternet, func() error {
			from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(packet.Source, 0))
			conn, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(packet.Destination, packet.Port)))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprintf(conn, "%s → %s:%d", packet.Source, packet.Destination, packet.Port)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	quiet, patience := 200*time.Millisecond, 5*time.Second
	for began := time.Now(); ; {
		select {
		case a := <-arrived:
			got = append(got, a)
		case <-time.After(quiet):
			if len(got) >= len(must) || time.Since(began) > patience {
				slices.Sort(got)
				return got
			}
		}
	}
}
