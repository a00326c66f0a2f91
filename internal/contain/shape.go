package contain

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// shapes are the limits of speed at both ends of a pod's link: what the machine sends into it comes in, what the pod sends goes
// out. A pod in the machine's own network has no link of its own.
func shapes(pid int) []Shape {
	theirs, err := netns.GetFromPath(fmt.Sprintf("%s/%d/ns/net", proc, pid))
	if err != nil {
		return nil
	}
	defer theirs.Close()
	ours, err := netns.GetFromPath(proc + "/1/ns/net")
	if err != nil {
		return nil
	}
	defer ours.Close()
	if theirs.Equal(ours) {
		return nil
	}
	in, err := netlink.NewHandleAt(theirs, unix.NETLINK_ROUTE)
	if err != nil {
		return nil
	}
	defer in.Close()
	on, err := netlink.NewHandleAt(ours, unix.NETLINK_ROUTE)
	if err != nil {
		return nil
	}
	defer on.Close()
	link, err := in.LinkByName("eth0")
	if err != nil {
		return nil
	}
	out := shaped(in, link, "out")
	if peer, err := on.LinkByIndex(link.Attrs().ParentIndex); err == nil {
		out = append(shaped(on, peer, "in"), out...)
	}
	return out
}

// shaped reads the disciplines that limit what a link sends.
func shaped(h *netlink.Handle, link netlink.Link, way string) []Shape {
	var out []Shape
	disciplines, err := h.QdiscList(link)
	if err != nil {
		return nil
	}
	for _, d := range disciplines {
		switch d := d.(type) {
		case *netlink.Tbf:
			out = append(out, Shape{Way: way, By: "tbf", Bits: d.Rate * 8})
		case *netlink.Htb:
			classes, err := h.ClassList(link, 0)
			if err != nil {
				continue
			}
			for _, c := range classes {
				if c, ok := c.(*netlink.HtbClass); ok {
					out = append(out, Shape{Way: way, By: "htb", Bits: c.Ceil * 8})
				}
			}
		}
	}
	return out
}
