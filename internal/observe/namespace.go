package observe

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaceFiles are the network namespaces of a machine's pods, where containerd keeps them.
const namespaceFiles = "/run/netns/cni-*"

// spaces are network namespaces by the address of their pod.
type spaces map[netip.Addr]netns.NsHandle

// namespaces finds the pods of this machine by their addresses.
func namespaces() (spaces, error) {
	files, err := filepath.Glob(namespaceFiles)
	if err != nil {
		return nil, err
	}
	all := spaces{}
	for _, file := range files {
		ns, err := netns.GetFromPath(file)
		if err != nil {
			continue // the pod has just ended
		}
		addresses, err := addressesIn(ns)
		if err != nil || len(addresses) == 0 {
			_ = ns.Close()
			continue
		}
		all[addresses[0]] = ns
	}
	return all, nil
}

func addressesIn(ns netns.NsHandle) ([]netip.Addr, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	found, err := h.AddrList(nil, unix.AF_INET)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range found {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && !ip.IsLoopback() {
			out = append(out, ip)
		}
	}
	return out, nil
}

func (s spaces) close() {
	for _, ns := range s {
		_ = ns.Close()
	}
}

// inside runs f on a thread of its own in a pod's network namespace; without an address, in the machine's.
func (s spaces) inside(pod netip.Addr, f func() error) error {
	if !pod.IsValid() {
		return f()
	}
	ns, ok := s[pod]
	if !ok {
		return fmt.Errorf("no pod of this machine has the address %s: has it just ended?", pod)
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			done <- fmt.Errorf("enter the network namespace of pod %s: %w", pod, err)
			return
		}
		done <- f()
	}()
	return <-done
}
