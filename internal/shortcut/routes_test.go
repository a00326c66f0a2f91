package shortcut

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func hardware(s string) net.HardwareAddr {
	a, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return a
}

func TestPodsOf(t *testing.T) {
	prefix, address := netip.MustParsePrefix, netip.MustParseAddr
	n := Network{
		Links: []Link{
			{Index: 1, Name: "eth0", Kind: "veth"}, {Index: 2, Name: "cali1", Kind: "veth"}, {Index: 3, Name: "cali2", Kind: "veth", Shaped: true},
			{Index: 4, Name: "vxlan.calico", Kind: "vxlan", Hardware: hardware("66:00:00:00:00:01"), Network: 4096, Port: 4789, Local: address("192.0.2.10")}, {Index: 5, Name: "cali3", Kind: "dummy"},
		},
		Neighbours: []Neighbour{
			{4, address("10.244.1.0"), hardware("66:00:00:00:00:02")}, {1, address("10.244.2.0"), hardware("66:00:00:00:00:03")},
		},
		Peers: []Peer{
			{Link: 4, Hardware: hardware("66:00:00:00:00:02"), Address: address("192.0.2.11"), Out: 1},
			{Link: 1, Hardware: hardware("66:00:00:00:00:03"), Address: address("192.0.2.12"), Out: 1},
		},
		Routes: []Route{
			{To: prefix("10.244.0.1/32"), Link: 2, Plain: true},
			{To: prefix("10.244.0.2/32"), Link: 3, Plain: true},                             // shaped
			{To: prefix("10.244.0.3/32"), Link: 5, Plain: true},                             // no veth pair
			{To: prefix("10.244.0.4/32"), Link: 2},                                          // not plain
			{To: prefix("10.244.0.8/29"), Link: 2, Plain: true},                             // no pod
			{To: prefix("10.244.0.0/26")},                                                   // a blackhole
			{To: prefix("10.244.1.0/26"), Link: 4, Via: address("10.244.1.0"), Plain: true}, // another worker
			{To: prefix("10.244.2.0/26"), Link: 4, Via: address("10.244.2.0"), Plain: true}, // whose hardware address is not known
			{To: prefix("10.244.1.9/32"), Link: 4, Via: address("10.244.1.0"), Plain: true}, // by two routes
			{To: prefix("10.244.1.9/32"), Link: 2, Plain: true},
			{To: prefix("192.0.2.1/32"), Link: 2, Plain: true}, // not of pods
			{To: prefix("10.0.0.0/8"), Link: 4, Via: address("10.244.1.0"), Plain: true},
		},
	}
	want := map[netip.Prefix]pod{
		prefix("10.244.0.1/32"): {ifindex: 2, kind: here},
		prefix("10.244.0.2/32"): {}, prefix("10.244.0.3/32"): {}, prefix("10.244.0.4/32"): {}, prefix("10.244.0.8/29"): {}, prefix("10.244.0.0/26"): {},
		prefix("10.244.1.0/26"): {ifindex: 4, kind: elsewhere, tunnel: tunnel{ifindex: 1, header: [headerSize]byte{
			12: 8, 0, 0x45, 22: 64, 17, 26: 192, 0, 2, 10, 192, 0, 2, 11, 36: 0x12, 0xb5, 42: 8, 46: 0, 0x10, 0, 0,
			0x66, 0, 0, 0, 0, 2, 0x66, 0, 0, 0, 0, 1, 8, 0,
		}}},
		prefix("10.244.2.0/26"): {}, prefix("10.244.1.9/32"): {},
	}
	if diff := cmp.Diff(want, podsOf(n, prefix("10.244.0.0/16")), cmp.AllowUnexported(pod{}, tunnel{})); diff != "" {
		t.Error(diff)
	}
	for i := range entrances(n.Links) {
		if i != 2 && i != 3 && i != 4 {
			t.Errorf("the program would be at interface %d", i)
		}
	}
}

func TestKey(t *testing.T) {
	p := pod{ifindex: 7, kind: elsewhere, tunnel: tunnel{header: [headerSize]byte{1, 2, 3}}}.bytes()
	if len(p) != podSize || p[podHeader] != 1 || p[podKind] != byte(elsewhere) && p[podKind+3] != byte(elsewhere) {
		t.Errorf("%v", p)
	}
	if k := key(netip.MustParsePrefix("10.244.1.0/26")); len(k) != 8 || k[4] != 10 || k[7] != 0 {
		t.Errorf("%v", k)
	}
}
