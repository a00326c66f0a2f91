package shortcut

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Offsets in the header of a VXLAN packet: Ethernet, IPv4, UDP, VXLAN, and the Ethernet inside.
const (
	outerIP     = 14
	outerLength = outerIP + 2
	outerID     = outerIP + 4
	outerSum    = outerIP + 10
	outerUDP    = outerIP + 20
	udpLength   = outerUDP + 4
	outerVXLAN  = outerUDP + 8
	innerFrame  = outerVXLAN + 8
	headerSize  = innerFrame + 14
	// headerGrowth is how much longer a frame becomes.
	headerGrowth = headerSize - 14
)

// newTunnel writes the header. The kernel writes the first Ethernet header when it knows the next hop's hardware address.
func newTunnel(vxlan Link, to Peer, mac net.HardwareAddr) tunnel {
	t := tunnel{ifindex: uint32(to.Out)}
	h := t.header[:]
	binary.BigEndian.PutUint16(h[12:], unix.ETH_P_IP)
	h[outerIP], h[outerIP+8], h[outerIP+9] = 0x45, 64, unix.IPPROTO_UDP
	copy(h[outerIP+12:], vxlan.Local.AsSlice())
	copy(h[outerIP+16:], to.Address.AsSlice())
	binary.BigEndian.PutUint16(h[outerUDP+2:], vxlan.Port)
	h[outerVXLAN] = 0x08 // it has a number
	binary.BigEndian.PutUint32(h[outerVXLAN+4:], vxlan.Network<<8)
	copy(h[innerFrame:], mac)
	copy(h[innerFrame+6:], vxlan.Hardware)
	binary.BigEndian.PutUint16(h[innerFrame+12:], unix.ETH_P_IP)
	return t
}

// sum is the part of the IPv4 header's checksum that is the same for all packets: without the first two bytes, of which
// the second is the packet's, and without length and number.
func (t tunnel) sum() (sum uint32) {
	for i := outerIP + 2; i < outerUDP; i += 2 {
		sum += uint32(binary.NativeEndian.Uint16(t.header[i:]))
	}
	return sum
}

// usable says whether the VXLAN's own packets are known.
func (l Link) usable() bool {
	return len(l.Hardware) == 6 && l.Local.Is4() && l.Port != 0
}

// peers are the workers by the VXLAN's interface and the hardware address there.
func peers(all []Peer) map[int]map[string]Peer {
	out := map[int]map[string]Peer{}
	for _, p := range all {
		if out[p.Link] == nil {
			out[p.Link] = map[string]Peer{}
		}
		out[p.Link][string(p.Hardware)] = p
	}
	return out
}

// hops are the hardware addresses of next hops, by interface and address.
func hops(all []Neighbour) map[int]map[netip.Addr]net.HardwareAddr {
	out := map[int]map[netip.Addr]net.HardwareAddr{}
	for _, n := range all {
		if out[n.Link] == nil {
			out[n.Link] = map[netip.Addr]net.HardwareAddr{}
		}
		out[n.Link][n.Address] = n.Hardware
	}
	return out
}
