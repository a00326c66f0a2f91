package shortcut

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// kind is where a pod is.
type kind uint32

const (
	nowhere   kind = iota // a route that no shortcut replaces, within one that it could
	here                  // behind an interface of this machine
	elsewhere             // behind the VXLAN
)

// pod is where packets for an address go, and come from.
type pod struct {
	ifindex uint32
	kind    kind
	tunnel  tunnel
}

// tunnel is the way to another worker.
type tunnel struct {
	ifindex uint32 // by which the VXLAN's own packets leave
	// header is what comes before a pod's IP packet, less what differs from packet to packet.
	header [headerSize]byte
}

// Offsets in a pod as the program reads it.
const (
	podIfindex = 0
	podKind    = 4
	podOut     = 8
	podSum     = 12
	podHeader  = 16
	podSize    = podHeader + headerSize
)

func (p pod) bytes() []byte {
	b := binary.NativeEndian.AppendUint32(nil, p.ifindex)
	b = binary.NativeEndian.AppendUint32(b, uint32(p.kind))
	b = binary.NativeEndian.AppendUint32(b, p.tunnel.ifindex)
	b = binary.NativeEndian.AppendUint32(b, p.tunnel.sum())
	return append(b, p.tunnel.header[:]...)
}

// key is an address or a block of them in the map, where the longest that fits decides, as in a table of routes.
func key(p netip.Prefix) []byte {
	a := p.Addr().As4()
	return append(binary.NativeEndian.AppendUint32(nil, uint32(p.Bits())), a[:]...)
}

// Link is an interface of the machine.
type Link struct {
	Index int
	Name  string
	// Kind is the kernel's word: veth, vxlan.
	Kind     string
	Hardware net.HardwareAddr
	// Shaped: packets wait their turn before they go out by it, by Calico's bandwidth of a pod.
	Shaped bool
	// Network, Port and Local are a VXLAN's: its number, and where its own packets come from.
	Network uint32
	Port    uint16
	Local   netip.Addr
}

// Route is a route of the machine's main table.
type Route struct {
	To   netip.Prefix
	Link int
	// Via is the next hop, if there is one.
	Via netip.Addr
	// Plain: a unicast route over one interface.
	Plain bool
}

// Neighbour is the hardware address of a next hop.
type Neighbour struct {
	Link     int
	Address  netip.Addr
	Hardware net.HardwareAddr
}

// Peer is the other worker behind a hardware address of the VXLAN.
type Peer struct {
	Link     int
	Hardware net.HardwareAddr
	Address  netip.Addr
	// Out is the interface by which it is reached.
	Out int
}

// Network is what the machine's kernel knows of the way to pods.
type Network struct {
	Links      []Link
	Routes     []Route
	Neighbours []Neighbour
	Peers      []Peer
}
