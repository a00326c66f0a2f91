package exposure

import (
	"net/netip"
	"testing"
)

// TestFrom: what one machine reaches is what walks of its own packets do, as if the internet were there; and it is told who they seem to be.
func TestFrom(t *testing.T) {
	g := edge()
	worker := netip.MustParseAddr("10.0.0.3")
	router := &g.Nodes[1]
	router.Forwarding[0].Rules = append(router.Forwarding[0].Rules, Rule{Match: Match{Source: Addresses(worker), Out: []string{"outside"}, Protocol: Numbers(TCP, TCP), Port: Numbers(1, 1)}, Verdict: Accept})
	router.Leaving = []Chain{{Name: "NAT", Accepts: true, Rules: []Rule{{Match: Match{Out: []string{"outside"}}, Verdict: Translate, To: Rewrite{Source: at("192.0.2.255")}}}}}
	away := netip.MustParseAddr("10.0.0.4")
	g.Nodes[0].Attachments[0].Addresses = []netip.Addr{away}
	reached := func(s Surface, node string, p Packet) (out bool, as netip.Addr) {
		for _, e := range s {
			if e.Node == node && e.Packets.Contains(p) {
				return true, e.Source
			}
		}
		return false, as
	}
	s := From(g, "worker")
	for _, c := range []struct {
		node string
		p    Packet
		want bool
		as   netip.Addr
	}{
		{"bastion", Packet{worker, netip.MustParseAddr("10.0.0.1"), TCP, 1}, true, netip.Addr{}},
		{"internet", Packet{worker, away, TCP, 1}, true, netip.MustParseAddr("192.0.2.255")},
		{"internet", Packet{worker, away, TCP, 0}, false, netip.Addr{}},
		{"bastion", Packet{away, netip.MustParseAddr("10.0.0.1"), TCP, 1}, false, netip.Addr{}}, // it says only who it is
	} {
		if got, as := reached(s, c.node, c.p); got != c.want || as != c.as {
			t.Errorf("%+v reaches %s: %v as %s", c.p, c.node, got, as)
		}
	}
	if g.Nodes[0].Kind != Internet {
		t.Error("the graph was changed")
	}
}
