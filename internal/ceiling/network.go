package ceiling

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// queue is the number of the queues that hold pods' packets: what has another is not ours.
var queue = netlink.MakeHandle(0xa51a, 0)

// A queue lets a pod send at once what its ceiling gives in burst, at least what the kernel hands over in one piece, and
// holds what comes in for no longer than delay: a sender hears by a lost packet, or by its own full socket, to slow down.
const (
	burstsPerSecond = 200
	leastBurst      = 128 << 10
	delaysPerSecond = 40
)

// hold makes the kernel hold the pod whose network namespace it is to the ceiling, and says whether it had to be told. What
// the pod receives waits at the machine's end of its interface; what it sends, at its own, where waiting is felt by the
// sender before anything is lost.
func (n Network) hold(namespace string) (changed bool, err error) {
	if namespace == "" {
		return false, nil // the machine's own network
	}
	ns, err := netns.GetFromPath(namespace)
	if err != nil {
		return false, fmt.Errorf("enter the pod's network: %w", err)
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("enter the pod's network: %w", err)
	}
	defer inside.Close()
	outside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false, err
	}
	defer outside.Close()
	links, err := inside.LinkList()
	if err != nil {
		return false, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	for _, l := range links {
		if l.Type() != "veth" || l.Attrs().NetNsID < 0 {
			continue // not to elsewhere
		}
		other, err := outside.LinkByIndex(l.Attrs().ParentIndex)
		if err != nil || other.Type() != "veth" || other.Attrs().ParentIndex != l.Attrs().Index {
			continue // not to the machine
		}
		sends, err := shape(inside, l, n.Egress)
		if err != nil {
			return changed, fmt.Errorf("hold what the pod sends: %w", err)
		}
		receives, err := shape(outside, other, n.Ingress)
		if err != nil {
			return changed, fmt.Errorf("hold what the pod receives: %w", err)
		}
		changed = changed || sends || receives
	}
	return changed, nil
}

// shape gives the interface the queue that holds what leaves by it to so many bytes a second, or takes it away.
func shape(h *netlink.Handle, l netlink.Link, rate uint64) (changed bool, err error) {
	all, err := h.QdiscList(l)
	if err != nil {
		return false, err
	}
	var have netlink.Qdisc
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_ROOT {
			have = q
		}
	}
	if rate == 0 {
		if have == nil || have.Attrs().Handle != queue {
			return false, nil
		}
		return true, h.QdiscDel(have)
	}
	want := queueFor(l.Attrs().Index, rate)
	if tbf, is := have.(*netlink.Tbf); is && tbf.Handle == queue && tbf.Rate == want.Rate && tbf.Limit == want.Limit {
		return false, nil
	}
	if have != nil && have.Attrs().Handle != 0 && have.Attrs().Handle != queue {
		if err := h.QdiscDel(have); err != nil && !errors.Is(err, unix.ENOENT) {
			return false, err
		}
	}
	return true, h.QdiscReplace(want)
}

func queueFor(index int, rate uint64) *netlink.Tbf {
	burst := max(rate/burstsPerSecond, leastBurst)
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: queue, Parent: netlink.HANDLE_ROOT},
		Rate:       rate, Buffer: netlink.Xmittime(rate, uint32(min(burst, 1<<31))), Limit: uint32(min(burst+rate/delaysPerSecond, 1<<31)),
	}
}
