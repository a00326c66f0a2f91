package shortcut

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// kernel is what the program needs of the running kernel, by its own description of itself.
type kernel struct {
	// Functions of the connection table, by their type's number.
	lookup, release, extend btf.TypeID
	// Where struct nf_conn has what the program reads.
	status, timeout, tcpState uint32
	// optionsSize is that of struct bpf_ct_opts.
	optionsSize uint32
	// ticks is how many jiffies a second has.
	ticks uint32
}

// readKernel fails on a kernel that cannot look connections up for a program.
func readKernel() (kernel, error) {
	var k kernel
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return k, fmt.Errorf("read the kernel's description of itself (BTF): %w", err)
	}
	for name, id := range map[string]*btf.TypeID{
		"bpf_skb_ct_lookup": &k.lookup, "bpf_ct_release": &k.release, "bpf_ct_change_timeout": &k.extend,
	} {
		var f *btf.Func
		if err := spec.TypeByName(name, &f); err != nil {
			return k, fmt.Errorf("the kernel has no function %s for programs: %w", name, err)
		}
		if *id, err = spec.TypeID(f); err != nil {
			return k, fmt.Errorf("the kernel's function %s: %w", name, err)
		}
	}
	var connection, options *btf.Struct
	if err := spec.TypeByName("nf_conn", &connection); err != nil {
		return k, fmt.Errorf("the kernel does not describe its connections: %w", err)
	}
	if err := spec.TypeByName("bpf_ct_opts", &options); err != nil {
		return k, fmt.Errorf("the kernel does not describe how a connection is looked up: %w", err)
	}
	k.optionsSize = options.Size
	for _, field := range []struct {
		offset *uint32
		size   int
		path   []string
	}{{&k.status, 8, []string{"status"}}, {&k.timeout, 4, []string{"timeout"}}, {&k.tcpState, 1, []string{"proto", "tcp", "state"}}} {
		if *field.offset, err = offset(connection, field.size, field.path...); err != nil {
			return k, fmt.Errorf("the kernel's connections: %w", err)
		}
	}
	// The coarse clock advances with every jiffy.
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return k, fmt.Errorf("ask how long a jiffy is: %w", err)
	}
	k.ticks = uint32(1e9 / max(tick.Nano(), 1))
	return k, nil
}

// offset is where a member of that size is within t, in bytes.
func offset(t btf.Type, size int, path ...string) (uint32, error) {
	var at uint32
	for _, name := range path {
		var members []btf.Member
		switch t := btf.UnderlyingType(t).(type) {
		case *btf.Struct:
			members = t.Members
		case *btf.Union:
			members = t.Members
		}
		var found bool
		for _, m := range members {
			if m.Name == name && m.BitfieldSize == 0 {
				t, at, found = m.Type, at+m.Offset.Bytes(), true
				break
			}
		}
		if !found {
			return 0, fmt.Errorf("no member %s", name)
		}
	}
	n, err := btf.Sizeof(t)
	if err == nil && n != size {
		err = fmt.Errorf("it has %d bytes, not %d", n, size)
	}
	if err != nil {
		return 0, fmt.Errorf("member %s: %w", path[len(path)-1], err)
	}
	return at, nil
}
