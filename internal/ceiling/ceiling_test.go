package ceiling

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/unit"
)

func TestNew(t *testing.T) {
	declared := unit.Ceilings(v1alpha1.Isolation{Classes: []v1alpha1.PodClass{
		{Name: "plain"},
		{Name: "slow", Disk: v1alpha1.DiskCeiling{Read: "20Mi", WriteOps: 7}, Network: v1alpha1.NetworkCeiling{Ingress: "8M", Egress: "1G"}},
		{Name: "restricted", Disk: v1alpha1.DiskCeiling{Write: "1Ki"}},
	}})
	c, err := New(declared)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		labels map[string]string
		class  string
		want   Ceiling
	}{
		{map[string]string{isolation.LabelClass: "slow"}, "slow", Ceiling{Disk{Read: 20 << 20, WriteOps: 7}, Network{Ingress: 1e6, Egress: 125e6}}},
		{map[string]string{isolation.LabelClass: "plain"}, "plain", Ceiling{}},
		{map[string]string{isolation.LabelClass: "privileged"}, "privileged", Ceiling{}},
		{map[string]string{isolation.LabelClass: "nobody knows it"}, "nobody knows it", Ceiling{}},
		// What a class that is always there does not say stays as it is.
		{nil, "restricted", Ceiling{Disk{Read: c["baseline"].Disk.Read, Write: 1 << 10, ReadOps: c["baseline"].Disk.ReadOps, WriteOps: c["baseline"].Disk.WriteOps},
			c["baseline"].Network}},
	} {
		class, got := c.Of(tc.labels)
		if diff := cmp.Diff(tc.want, got); class != tc.class || diff != "" {
			t.Errorf("%v: class %s, not %s; (-want +got)\n%s", tc.labels, class, tc.class, diff)
		}
	}
	for _, wrong := range []v1alpha1.NetworkCeiling{{Egress: "fast"}, {Egress: "7"}, {Ingress: "-1G"}, {Ingress: "0"}} {
		if c, err := New([]unit.Ceiling{{Class: "x", Network: wrong}}); err == nil {
			t.Errorf("%v is taken for %v", wrong, c)
		}
	}
}

func TestGroupOf(t *testing.T) {
	for parent, want := range map[string]string{
		"/kubepods/burstable/pod1-2":      "/kubepods/burstable/pod1-2",
		"kubepods-besteffort-podab.slice": "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podab.slice",
		"/a/kubepods-podab.slice":         "/kubepods.slice/kubepods-podab.slice",
	} {
		if got := groupOf(parent); got != want {
			t.Errorf("%s: %s, not %s", parent, got, want)
		}
	}
}

// TestUnified asks of files what the second version of control groups has in them. That its kernel does as they say is
// tried in a guest (make selinux).
func TestUnified(t *testing.T) {
	g := groups{root: t.TempDir(), unified: true}
	dir := filepath.Join(g.root, "pod")
	if changed, err := g.hold("pod", Disk{}, []string{"8:0"}); changed || err != nil {
		t.Errorf("no ceiling for a group without a file: %v %v", changed, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "io.max")
	for _, tc := range []struct {
		has, want string
		ceiling   Disk
	}{
		{"", "8:0 rbps=max wbps=5 riops=max wiops=7", Disk{Write: 5, WriteOps: 7}},
		{"8:0 rbps=max wbps=5 riops=max wiops=7\n", "", Disk{Write: 5, WriteOps: 7}},
		{"8:0 rbps=max wbps=6 riops=max wiops=7\n", "8:0 rbps=max wbps=5 riops=max wiops=7", Disk{Write: 5, WriteOps: 7}},
		{"8:0 rbps=max wbps=6 riops=max wiops=7\n", "8:0 rbps=max wbps=max riops=max wiops=max", Disk{}},
		{"", "", Disk{}},
	} {
		if err := os.WriteFile(file, []byte(tc.has), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := g.hold("pod", tc.ceiling, []string{"8:0"})
		b, _ := os.ReadFile(file)
		want := tc.want
		if want == "" {
			want = tc.has
		}
		if err != nil || changed != (tc.want != "") || string(b) != want {
			t.Errorf("%q, of %v: %v %v: %q, not %q", tc.has, tc.ceiling, changed, err, b, want)
		}
	}
}

// TestFirst holds a group of this kernel, with a container's in it, and lets go of it.
func TestFirst(t *testing.T) {
	g, err := findGroups("/sys/fs/cgroup")
	if err != nil || g.unified || os.Geteuid() != 0 {
		t.Skipf("not the first version, or not root: %v", err)
	}
	all, err := disks("/sys")
	if err != nil || len(all) == 0 {
		t.Fatalf("disks: %v %v", all, err)
	}
	pod := fmt.Sprintf("ashlar-test-%d", os.Getpid())
	dir := filepath.Join(g.root, pod)
	t.Cleanup(func() { _ = os.Remove(filepath.Join(dir, "container")); _ = os.Remove(dir) })
	if err := os.MkdirAll(filepath.Join(dir, "container"), 0o755); err != nil {
		t.Fatal(err)
	}
	limit := func(of string) string {
		b, err := os.ReadFile(filepath.Join(of, "blkio.throttle.write_bps_device"))
		if err != nil {
			t.Fatal(err)
		}
		return keyed(string(b))[all[0]]
	}
	for i, want := range []bool{true, false} {
		if changed, err := g.hold(pod, Disk{Write: 1 << 20}, all); err != nil || changed != want {
			t.Errorf("the %d. time: changed %v, %v", i+1, changed, err)
		}
	}
	if own, inside := limit(dir), limit(filepath.Join(dir, "container")); own != "1048576" || inside != own {
		t.Errorf("the pod has %q, its container %q", own, inside)
	}
	if changed, err := g.hold(pod, Disk{}, all); err != nil || !changed || limit(dir) != "" || limit(filepath.Join(dir, "container")) != "" {
		t.Errorf("let go: %v %v, the pod has %q, its container %q", changed, err, limit(dir), limit(filepath.Join(dir, "container")))
	}
	if _, err := g.hold(pod+"/gone", Disk{}, all); err != nil {
		t.Errorf("a group that is no more: %v", err)
	}
}

// TestNetwork shapes both ends of a real pair of interfaces.
func TestNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := tryQueue(); err != nil {
		t.Skip(err)
	}
	name := fmt.Sprintf("ashlar-test-%d", os.Getpid())
	namespaceOf(t, name)
	at := netlink.NewLinkAttrs()
	at.Name = fmt.Sprintf("at%d", os.Getpid())
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	link := &netlink.Veth{LinkAttrs: at, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	path := "/run/netns/" + name
	outside := func() netlink.Qdisc {
		all, err := netlink.QdiscList(link)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range all {
			if q.Attrs().Parent == netlink.HANDLE_ROOT {
				return q
			}
		}
		return nil
	}
	steps := []struct {
		what    string
		do      func()
		ceiling Network
		changed bool
		rate    uint64
	}{
		{"nothing", nil, Network{}, false, 0},
		{"both ways", nil, Network{Ingress: 1e6, Egress: 2e6}, true, 1e6},
		{"again", nil, Network{Ingress: 1e6, Egress: 2e6}, false, 1e6},
		{"more", nil, Network{Ingress: 9e9, Egress: 2e6}, true, 9e9},
		{"taken away", func() { _ = netlink.QdiscDel(outside()) }, Network{Ingress: 9e9, Egress: 2e6}, true, 9e9},
		{"another's in its place", func() {
			_ = netlink.QdiscDel(outside())
			other := queueFor(link.Index, 5)
			other.Handle = netlink.MakeHandle(1, 0)
			if err := netlink.QdiscAdd(other); err != nil {
				t.Fatal(err)
			}
		}, Network{Ingress: 1e6}, true, 1e6},
		{"let go", nil, Network{}, true, 0},
		{"again", nil, Network{}, false, 0},
	}
	for _, s := range steps {
		if s.do != nil {
			s.do()
		}
		changed, err := s.ceiling.hold(path)
		var rate uint64
		if tbf, is := outside().(*netlink.Tbf); is {
			rate = tbf.Rate
		}
		if err != nil || changed != s.changed || rate != s.rate {
			t.Errorf("%s: changed %v, %v; the machine's end has %d, not %d", s.what, changed, err, rate, s.rate)
		}
	}
	if changed, err := (Network{Egress: 1}).hold(""); changed || err != nil {
		t.Errorf("the machine's own network: %v %v", changed, err)
	}
}

// namespaceOf makes a network namespace of that name.
func namespaceOf(t *testing.T, name string) {
	t.Helper()
	done := make(chan error)
	go func() { // its thread, which is in the namespace, is not used again
		_, err := lockedNamespace(name)
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netns.DeleteNamed(name) })
}

func lockedNamespace(name string) (netns.NsHandle, error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	return netns.NewNamed(name)
}
