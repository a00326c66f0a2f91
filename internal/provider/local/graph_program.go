package local

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/exposure"
)

// Programs that the kernel runs on packets before, or after, all rules may send them anywhere. None is ours, and none is understood:
// where there is one, everything behind it may be reached.

// hooksOfPrograms are where programs of BPF are attached to a link, but for those that netlink tells of.
var hooksOfPrograms = map[string]uint32{"tcx ingress": 46, "tcx egress": 47, "netkit primary": 54, "netkit peer": 55}

// programs names what is attached to the links of a namespace. The calling thread must be in it.
func (s *space) programs() ([]string, error) {
	links, err := s.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links of %s: %w", s.name, err)
	}
	var out []string
	for _, l := range links {
		a := l.Attrs()
		if a.Xdp != nil && a.Xdp.Attached {
			out = append(out, "an XDP program on "+a.Name)
		}
		filters, err := s.filters(l)
		if err != nil {
			return nil, fmt.Errorf("list filters (tc) of %s on %s: %w", a.Name, s.name, err)
		}
		out = append(out, filters...)
		for hook, kind := range hooksOfPrograms {
			if n, err := programsAt(a.Index, kind); err != nil {
				return nil, fmt.Errorf("ask for programs at %s of %s on %s: %w", hook, a.Name, s.name, err)
			} else if n > 0 {
				out = append(out, fmt.Sprintf("a program at %s of %s", hook, a.Name))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// filters are those of tc: at a link's ingress and egress, and of its queues.
func (s *space) filters(l netlink.Link) ([]string, error) {
	queues, err := s.QdiscList(l)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, q := range queues {
		parents := []uint32{q.Attrs().Handle}
		if kind := q.Type(); kind == "clsact" || kind == "ingress" {
			parents = []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS, q.Attrs().Handle}
		}
		for _, parent := range parents {
			filters, err := s.FilterList(l, parent)
			if err != nil {
				return nil, err
			}
			for _, f := range filters {
				out = append(out, fmt.Sprintf("a filter (tc, %s) on %s", f.Type(), l.Attrs().Name))
			}
		}
	}
	return out, nil
}

// programQuery is what bpf(2) is asked with.
type programQuery struct {
	link, kind, queryFlags, attachFlags uint32
	ids                                 uint64
	count, _                            uint32
	_, _, _, revision                   uint64
}

// programsAt counts the programs at a link's hook, in the network namespace of this thread. A kernel that has no such hook, or no BPF,
// has none.
func programsAt(link int, kind uint32) (int, error) {
	const query = 16 // BPF_PROG_QUERY
	q := programQuery{link: uint32(link), kind: kind}
	_, _, errno := unix.Syscall(unix.SYS_BPF, query, uintptr(unsafe.Pointer(&q)), unsafe.Sizeof(q))
	switch {
	case errno == 0:
		return int(q.count), nil
	case errors.Is(errno, unix.EINVAL), errors.Is(errno, unix.ENOSYS), errors.Is(errno, unix.ENOENT), errors.Is(errno, unix.EOPNOTSUPP):
		return 0, nil
	case errors.Is(errno, unix.ENXIO), errors.Is(errno, unix.ENODEV): // netkit's, of a link that is another's
		return 0, nil
	}
	return 0, errno
}

// runs adds to a node what programs may do.
func runs(n *exposure.Node, programs []string) {
	for _, p := range programs {
		n.Arriving = slices.Insert(n.Arriving, 0, exposure.Chain{Name: p, Accepts: true, Rules: []exposure.Rule{anything(p)}})
	}
	if len(programs) == 0 {
		return
	}
	// One that sends packets somewhere itself asks no rule that comes later.
	n.Forward4, n.Forward6 = true, true
	for _, hook := range [][]exposure.Chain{n.Forwarding, n.Leaving} {
		for i := range hook {
			hook[i].Rules = slices.Insert(hook[i].Rules, 0, maybe(programs[0]))
		}
	}
}
