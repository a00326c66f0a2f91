package local

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// bpf(2) as these tests need it.
const (
	bpfProgLoad, bpfLinkCreate        = 5, 28
	bpfClassifier, bpfXDP, tcxIngress = 3, 6, 46
)

// program loads one that lets every packet pass, and returns its descriptor.
func program(kind uint32, pass int32) (int, error) {
	code := []uint64{0xb7 | uint64(uint32(pass))<<32, 0x95} // r0 = pass; exit
	license := []byte("GPL\x00")
	attr := struct {
		kind, count   uint32
		code, license uint64
		_             [120]byte
	}{kind: kind, count: uint32(len(code)), code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, bpfProgLoad, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// reachedOf says how a machine is reached: "", "surely" or "perhaps".
func reachedOf(s exposure.Surface, node string) string {
	out := ""
	for _, e := range s {
		if e.Node == node && !e.Maybe {
			return "surely"
		} else if e.Node == node {
			out = "perhaps"
		}
	}
	return out
}

// TestPrograms: where a program runs on packets that come from the internet, everything may be reached; and nothing once it is gone.
func TestPrograms(t *testing.T) {
	p, _ := wired(t, guarded, provider.Network{Rules: []provider.Rule{knock}, Trusted: someTrusted})
	inFabric := func(f func(netlink.Link) error) error {
		return p.RunIn(provider.FromOperator, func() error {
			l, err := netlink.LinkByName("internet")
			if err != nil {
				return err
			}
			return f(l)
		})
	}
	tc := func(args ...string) error {
		out, err := exec.Command("tc", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc %v: %w: %s", args, err, out)
		}
		return nil
	}
	var link int
	for what, c := range map[string]struct{ attach, detach func(netlink.Link) error }{
		"a filter (tc, u32) on internet": {
			func(netlink.Link) error {
				if err := tc("qdisc", "add", "dev", "internet", "clsact"); err != nil {
					return err
				}
				return tc(strings.Fields("filter add dev internet ingress protocol ip u32 match ip dport 2222 0xffff action mirred egress redirect dev lo")...)
			}, func(netlink.Link) error { return tc("qdisc", "del", "dev", "internet", "clsact") }},
		"an XDP program on internet": {
			func(l netlink.Link) error {
				fd, err := program(bpfXDP, 2)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				return netlink.LinkSetXdpFdWithFlags(l, fd, 2) // generic
			}, func(l netlink.Link) error { return netlink.LinkSetXdpFdWithFlags(l, -1, 2) }},
		"a program at tcx ingress of internet": {
			func(l netlink.Link) error {
				fd, err := program(bpfClassifier, -1)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				attr := struct {
					program, link, kind, flags uint32
					_                          [48]byte
				}{program: uint32(fd), link: uint32(l.Attrs().Index), kind: tcxIngress}
				made, _, errno := unix.Syscall(unix.SYS_BPF, bpfLinkCreate, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
				if errno != 0 {
					return errno
				}
				link = int(made)
				return nil
			}, func(netlink.Link) error { return unix.Close(link) }},
	} {
		if err := inFabric(c.attach); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		s := surfaceOf(t, p)
		if got := reachedOf(s, "worker-0"); got != "perhaps" {
			t.Errorf("behind %s the worker is reached %q", what, got)
		}
		named := func(e exposure.Entry) bool {
			return slices.ContainsFunc(e.Path, func(s exposure.Step) bool { return strings.Contains(s.String(), what) })
		}
		if !slices.ContainsFunc(s, named) {
			t.Errorf("nobody is told of %s", what)
		}
		if err := inFabric(c.detach); err != nil {
			t.Fatal(err)
		}
		if got := reachedOf(surfaceOf(t, p), "worker-0"); got != "" {
			t.Errorf("after %s is gone the worker is reached %q", what, got)
		}
	}
}

// TestEarlyHooks: rules of a device, before all others, that do more than drop may do anything.
func TestEarlyHooks(t *testing.T) {
	p, _ := wired(t, guarded, provider.Network{Trusted: someTrusted})
	for rule, want := range map[string]string{"counter": "", "udp dport 1 drop": "", `fwd to "lo"`: "perhaps", `dup to "lo"`: "perhaps"} {
		for _, family := range []string{"netdev", "inet"} {
			if family == "inet" && strings.Contains(rule, "lo") {
				continue // which the kernel does not take there
			}
			rules := fmt.Sprintf("table %s early { chain c { type filter hook ingress device \"internet\" priority 0; policy accept; %s; }; }\n", family, rule)
			if err := loadRules(t.Context(), p.fabricNamespace(), rules); err != nil {
				t.Fatalf("%s: %v", rules, err)
			}
			if got := reachedOf(surfaceOf(t, p), "worker-0"); got != want {
				t.Errorf("with %q at ingress of %s the worker is reached %q, want %q", rule, family, got, want)
			}
			if err := loadRules(t.Context(), p.fabricNamespace(), fmt.Sprintf("delete table %s early\n", family)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPassingOn: what a public machine passes on has been reached, too; and that it lets nobody in by rules of its own counts for nothing.
func TestPassingOn(t *testing.T) {
	toWorker := provider.Rule{From: v1alpha1.RoleBastion, To: provider.Endpoint{Role: v1alpha1.RoleWorker, Protocol: "tcp", Port: 22}, Why: "ssh"}
	p, machines := wired(t, guarded, provider.Network{Rules: []provider.Rule{knock, toWorker}, Trusted: someTrusted})
	bastion, worker := byRole(t, machines, v1alpha1.RoleBastion), byRole(t, machines, v1alpha1.RoleWorker)
	at := p.machineNamespace(bastion.Name)
	if err := p.RunIn(bastion.Name, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	declared := []exposure.Declared{{Name: "ssh", Address: bastion.Public, Protocol: exposure.TCP, Port: 22, Sources: someTrusted, Node: bastion.Name}}
	if c := exposure.Compare(declared, surfaceOf(t, p), nil); !c.Equal() {
		t.Errorf("a machine that may forward, and has nothing to, exposes %v, missing %+v", c.Extra, c.Declared)
	}
	if err := loadRules(t.Context(), at, "table inet own { chain input { type filter hook input priority 0; policy drop; }; }\n"); err != nil {
		t.Fatal(err)
	}
	if c := exposure.Compare(declared, surfaceOf(t, p), nil); !c.Equal() {
		t.Errorf("behind a firewall of its own the bastion is not reached: %+v", c.Declared)
	}
	err := loadRules(t.Context(), at, fmt.Sprintf(`table ip own {
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; tcp dport 22 dnat to %s; }
	chain postrouting { type nat hook postrouting priority srcnat; policy accept; masquerade; }
}
`, worker.Address))
	if err != nil {
		t.Fatal(err)
	}
	if got := reachedOf(surfaceOf(t, p), worker.Name); got != "surely" {
		t.Errorf("what the bastion passes on reaches the worker %q", got)
	}
}
