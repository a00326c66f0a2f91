package shortcut

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// look reads the network of the namespace that the process is in.
func look() (Network, error) {
	for {
		n, err := lookOnce()
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // something changed while the kernel was listing it
			return n, err
		}
	}
}

func lookOnce() (Network, error) {
	var n Network
	links, err := netlink.LinkList()
	if err != nil {
		return n, fmt.Errorf("list links: %w", err)
	}
	queues, err := netlink.QdiscList(nil)
	if err != nil {
		return n, fmt.Errorf("list queues: %w", err)
	}
	shaped := map[int]bool{}
	for _, q := range queues {
		if q.Type() != "noqueue" {
			shaped[q.Attrs().LinkIndex] = true
		}
	}
	for _, l := range links {
		a := l.Attrs()
		to := Link{Index: a.Index, Name: a.Name, Kind: l.Type(), Hardware: a.HardwareAddr, Shaped: shaped[a.Index]}
		if v, is := l.(*netlink.Vxlan); is {
			to.Network, to.Port = uint32(v.VxlanId), uint16(v.Port)
			to.Local, _ = netip.AddrFromSlice(v.SrcAddr.To4())
		}
		n.Links = append(n.Links, to)
	}
	routes, err := netlink.RouteList(nil, unix.AF_INET)
	if err != nil {
		return n, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		address, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		via, _ := netip.AddrFromSlice(r.Gw.To4())
		bits, _ := r.Dst.Mask.Size()
		n.Routes = append(n.Routes, Route{
			To: netip.PrefixFrom(address, bits), Link: r.LinkIndex, Via: via,
			Plain: r.Type == unix.RTN_UNICAST && len(r.MultiPath) == 0 && r.Encap == nil && r.Via == nil && r.Tos == 0,
		})
	}
	for _, l := range entrances(n.Links) {
		if l.Kind != "vxlan" {
			continue
		}
		if err := n.lookBehind(l); err != nil {
			return n, err
		}
	}
	return n, nil
}

// lookBehind reads who is behind the VXLAN.
func (n *Network) lookBehind(l Link) error {
	neighbours, err := netlink.NeighList(l.Index, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list neighbours on %s: %w", l.Name, err)
	}
	for _, nb := range neighbours {
		address, _ := netip.AddrFromSlice(nb.IP.To4())
		if nb.State&(unix.NUD_PERMANENT|unix.NUD_NOARP|unix.NUD_REACHABLE) != 0 {
			n.Neighbours = append(n.Neighbours, Neighbour{Link: l.Index, Address: address, Hardware: nb.HardwareAddr})
		}
	}
	machines, err := netlink.NeighList(l.Index, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list machines behind %s: %w", l.Name, err)
	}
	for _, m := range machines {
		address, ok := netip.AddrFromSlice(m.IP.To4())
		if !ok {
			continue
		}
		way, err := netlink.RouteGet(m.IP)
		if err != nil || len(way) != 1 {
			continue // not reached now: a change of routes is another look
		}
		n.Peers = append(n.Peers, Peer{Link: l.Index, Hardware: m.HardwareAddr, Address: address, Out: way[0].LinkIndex})
	}
	return nil
}
