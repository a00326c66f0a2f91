package shortcut

import (
	"net/netip"
	"strings"
)

// The interfaces that felix makes: the machine's end of a pod's veth pair, and the VXLAN.
const (
	podPrefix = "cali"
	vxlanName = "vxlan.calico"
)

// entrances are the interfaces by which pods' packets come in.
func entrances(links []Link) map[int]Link {
	out := map[int]Link{}
	for _, l := range links {
		if l.Kind == "veth" && strings.HasPrefix(l.Name, podPrefix) || l.Kind == "vxlan" && l.Name == vxlanName {
			out[l.Index] = l
		}
	}
	return out
}

// podsOf translates the routes to pods. A route that is none to a pod, within the pods' addresses, is there too: as one
// that no shortcut leads to, so that it counts before a wider one, as it does in the table.
func podsOf(n Network, pods netip.Prefix) map[netip.Prefix]pod {
	links := entrances(n.Links)
	hop, peer := hops(n.Neighbours), peers(n.Peers)
	out := map[netip.Prefix]pod{}
	for _, r := range n.Routes {
		to := r.To.Masked()
		if !to.Addr().Is4() || to.Bits() < pods.Bits() || !pods.Contains(to.Addr()) {
			continue
		}
		var p pod
		l, known := links[r.Link]
		switch {
		case !known || !r.Plain || l.Shaped:
		case l.Kind == "veth" && to.IsSingleIP() && !r.Via.IsValid():
			p = pod{ifindex: uint32(l.Index), kind: here}
		case l.Kind == "vxlan" && l.usable():
			mac := hop[l.Index][r.Via]
			if to, found := peer[l.Index][string(mac)]; found && len(mac) == 6 {
				p = pod{ifindex: uint32(l.Index), kind: elsewhere, tunnel: newTunnel(l, to, mac)}
			}
		}
		if _, twice := out[to]; twice {
			p = pod{} // by two routes, of which the metric decides
		}
		out[to] = p
	}
	return out
}
