package local

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is an open network namespace.
type space struct {
	name string
	file netns.NsHandle
	*netlink.Handle
}

func openSpace(name string) (*space, error) {
	file, err := netns.GetFromPath(namespacePath(name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(file, unix.NETLINK_ROUTE)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	return &space{name: name, file: file, Handle: h}, nil
}

func (s *space) close() {
	s.Close()
	_ = s.file.Close()
}

// observe returns the parts that the namespace has: all links that are up, addresses and routes, and those of the sysctls.
func (s *space) observe(sysctls []part) (map[part]bool, error) {
	for {
		have, err := s.look(sysctls)
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // something changed while the kernel was listing it
			return have, err
		}
	}
}

func (s *space) look(sysctls []part) (map[part]bool, error) {
	have := map[part]bool{}
	links, err := s.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links of %s: %w", s.name, err)
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		if a.Flags&net.FlagUp != 0 {
			have[part{kind: linkPart, link: a.Name}] = true
		}
	}
	addresses, err := s.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", s.name, err)
	}
	for _, a := range addresses {
		have[part{kind: addressPart, link: names[a.LinkIndex], prefix: prefix(a.IPNet)}] = true
	}
	routes, err := s.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes of %s: %w", s.name, err)
	}
	for _, r := range routes {
		have[part{kind: routePart, link: names[r.LinkIndex], prefix: prefix(r.Dst), via: address(r.Gw), source: address(r.Src)}] = true
	}
	if len(sysctls) == 0 {
		return have, nil
	}
	return have, inNamespace(s.name, func() error {
		for _, t := range sysctls {
			b, err := os.ReadFile("/proc/sys/" + t.key)
			if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(b)) == t.value {
				have[t] = true // a kernel without IPv6 needs it not disabled
			}
		}
		return nil
	})
}

// apply makes parts, in their order. Links are brought up here; to make them is for connectPair.
func (s *space) apply(parts []part) error {
	for _, t := range parts {
		if err := s.make(t); err != nil {
			return fmt.Errorf("network namespace %s: make %s: %w", s.name, t, err)
		}
	}
	return nil
}

func (s *space) make(t part) error {
	if t.kind == sysctlPart {
		return inNamespace(s.name, func() error {
			err := os.WriteFile("/proc/sys/"+t.key, []byte(t.value), 0)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	link, err := s.LinkByName(t.link)
	if err != nil {
		return err
	}
	switch t.kind {
	case addressPart:
		return s.AddrReplace(link, &netlink.Addr{IPNet: ipNet(t.prefix)})
	case routePart:
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(t.prefix)}
		if t.source.IsValid() {
			r.Src = t.source.AsSlice()
		}
		if t.via.IsValid() {
			r.Gw, r.Flags = t.via.AsSlice(), int(netlink.FLAG_ONLINK)
		} else {
			r.Scope = netlink.SCOPE_LINK
		}
		return s.RouteReplace(r)
	default:
		return s.LinkSetUp(link)
	}
}

// remove takes an address away.
func (s *space) remove(t part) error {
	link, err := s.LinkByName(t.link)
	if err == nil {
		err = s.AddrDel(link, &netlink.Addr{IPNet: ipNet(t.prefix)})
	}
	if err != nil {
		return fmt.Errorf("network namespace %s: remove %s: %w", s.name, t, err)
	}
	return nil
}

// connectPair makes a link between two namespaces, unless both of its ends are there.
func connectPair(fabric *space, name string, other *space, otherName string) error {
	_, errHere := fabric.LinkByName(name)
	there, errThere := other.LinkByName(otherName)
	if errHere == nil && errThere == nil {
		return nil
	}
	if err := deleteLink(fabric, name); err != nil {
		return err
	}
	if errThere == nil {
		if err := other.LinkDel(there); err != nil {
			return fmt.Errorf("remove link %s of %s: %w", otherName, other.name, err)
		}
	}
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: otherName, PeerNamespace: netlink.NsFd(other.file)}
	pair.Name, pair.MTU = name, 1500
	if err := fabric.LinkAdd(pair); err != nil {
		return fmt.Errorf("make link %s from %s to %s: %w", name, fabric.name, other.name, err)
	}
	return nil
}

func deleteLink(s *space, name string) error {
	link, err := s.LinkByName(name)
	if err == nil {
		err = s.LinkDel(link)
	}
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return fmt.Errorf("remove link %s of %s: %w", name, s.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return anywhere
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(address(n.IP), bits)
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
