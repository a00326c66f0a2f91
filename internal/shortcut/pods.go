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
	// ethernet is the header for the other worker: its end of the VXLAN, and this machine's.
	ethernet [12]byte
}

// Offsets in a pod as the program reads it.
const (
	podIfindex  = 0
	podKind     = 4
	podEthernet = 8
	podSize     = 20
)

func (p pod) bytes() []byte {
	b := binary.NativeEndian.AppendUint32(nil, p.ifindex)
	b = binary.NativeEndian.AppendUint32(b, uint32(p.kind))
	return append(b, p.ethernet[:]...)
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

// Network is what the machine's kernel knows of the way to pods.
type Network struct {
	Links      []Link
	Routes     []Route
	Neighbours []Neighbour
}
