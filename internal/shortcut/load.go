// Package shortcut takes packets of settled connections between pods past the machine's rules.
//
// A worker's rules (felix's for policy, kube-proxy's for Services) let every packet of an established connection
// through, but only after it has walked through their tables. The program here sees packets before them, asks the
// kernel's connection table, and sends those on at once to which the rules would do nothing. Whatever begins, ends,
// is translated, is not a pod's or is only odd goes through the rules as ever, and so does everything without the program.
package shortcut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ProgramName is what the kernel and its tools call the program.
const ProgramName = "ashlar_short"

// Shortcut is the program in the kernel. It does nothing without its process: the kernel removes it then.
type Shortcut struct {
	kernel                  kernel
	program                 *ebpf.Program
	pods, lifetimes, counts *ebpf.Map
	attached                map[int]link.Link
	known                   map[netip.Prefix]pod
}

// Load gives the program to the kernel. It fails on one that cannot run it.
func Load() (*Shortcut, error) {
	k, err := readKernel()
	if err != nil {
		return nil, err
	}
	s := &Shortcut{kernel: k, attached: map[int]link.Link{}, known: map[netip.Prefix]pod{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Shortcut) load() (err error) {
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&s.pods, ebpf.MapSpec{Name: "ashlar_pods", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: podSize, MaxEntries: 1 << 16,
			Flags: unix.BPF_F_NO_PREALLOC}},
		{&s.lifetimes, ebpf.MapSpec{Name: "ashlar_lifetime", Type: ebpf.Array, KeySize: 4, ValueSize: lifetimeSize, MaxEntries: unix.IPPROTO_UDP + 1}},
		{&s.counts, ebpf.MapSpec{Name: "ashlar_counts", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(reasonCount)}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("make the kernel's map %s: %w", m.spec.Name, err)
		}
	}
	s.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: ProgramName, Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXIngress, License: "Dual BSD/GPL",
		Instructions: instructions(s.kernel, tables{pods: s.pods.FD(), lifetimes: s.lifetimes.FD(), counts: s.counts.FD()}),
	})
	if err != nil {
		return fmt.Errorf("give the kernel the program %s: %w", ProgramName, err)
	}
	return s.readLifetimes()
}

// readLifetimes tells the program what the machine's kernel gives an established connection. kube-proxy changes it.
func (s *Shortcut) readLifetimes() error {
	for protocol, name := range map[uint32]string{unix.IPPROTO_TCP: "tcp_timeout_established", unix.IPPROTO_UDP: "udp_timeout_stream"} {
		path := "/proc/sys/net/netfilter/nf_conntrack_" + name
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read how long the kernel remembers a connection: %w", err)
		}
		seconds, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := s.lifetimes.Put(protocol, lifetime(uint32(seconds), s.kernel.ticks)); err != nil {
			return fmt.Errorf("tell the program how long the kernel remembers a connection: %w", err)
		}
	}
	return nil
}

// maxLifetime is what milliseconds in 32 bits hold.
const maxLifetime = 1 << 31 / 1000

func lifetime(seconds, ticks uint32) []byte {
	seconds = min(seconds, maxLifetime)
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, seconds*1000), seconds*ticks)
}

// Apply makes the program know the network as it is now, and see the packets that pods send. Pods are the addresses
// that pods have.
func (s *Shortcut) Apply(n Network, pods netip.Prefix) error {
	want := podsOf(n, pods)
	for p := range s.known {
		if _, still := want[p]; still {
			continue
		}
		if err := s.pods.Delete(key(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("take the shortcut to %s away: %w", p, err)
		}
		delete(s.known, p)
	}
	for p, to := range want {
		if have, known := s.known[p]; known && have == to {
			continue
		}
		if err := s.pods.Put(key(p), to.bytes()); err != nil {
			return fmt.Errorf("make the shortcut to %s: %w", p, err)
		}
		s.known[p] = to
	}
	return s.attach(entrances(n.Links))
}

func (s *Shortcut) attach(to map[int]Link) error {
	for i, l := range s.attached {
		if _, still := to[i]; !still {
			_ = l.Close() // the interface is gone, and the program with it
			delete(s.attached, i)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(to)) {
		if s.attached[i] != nil {
			continue
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: i, Program: s.program, Attach: ebpf.AttachTCXIngress})
		if errors.Is(err, unix.ENODEV) {
			continue // gone meanwhile
		}
		if err != nil {
			return fmt.Errorf("attach the program to %s: %w", to[i].Name, err)
		}
		s.attached[i] = l
	}
	return nil
}

// Counts says how many packets went which way, and why, since the program was loaded.
func (s *Shortcut) Counts() (map[string]uint64, error) {
	out := map[string]uint64{}
	for r := range reasonCount {
		var each []uint64
		if err := s.counts.Lookup(uint32(r), &each); err != nil {
			return nil, fmt.Errorf("read the program's counts: %w", err)
		}
		for _, n := range each {
			out[r.String()] += n
		}
	}
	return out, nil
}

// Close takes the program out of the kernel.
func (s *Shortcut) Close() error {
	var errs []error
	for _, l := range s.attached {
		errs = append(errs, l.Close())
	}
	if s.program != nil {
		errs = append(errs, s.program.Close())
	}
	for _, m := range []*ebpf.Map{s.pods, s.lifetimes, s.counts} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}
