package contain

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write the golden file anew")

// recorded is what a worker's kernel said of the pods of testdata/pods.json, and those pods as the API had them.
func recorded(t *testing.T) (map[string]*corev1.Pod, Machine) {
	t.Helper()
	var m Machine
	var list corev1.PodList
	for file, to := range map[string]any{"testdata/machine.json": &m, "testdata/pods.json": &list} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatal(err)
		}
	}
	pods := map[string]*corev1.Pod{}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods, m
}

func TestCompareRecorded(t *testing.T) {
	pods, m := recorded(t)
	var b strings.Builder
	for _, name := range []string{"strict", "plain", "apart", "between", "mighty"} {
		fmt.Fprintf(&b, "%s\n", name)
		for _, f := range Compare(pods[name], Ceilings{}, m) {
			line := fmt.Sprintf("  %s · %s · %s · %s", f.Container, f.What, f.Says, f.Kernel)
			if f.Differs != "" {
				line += " ✗ " + f.Differs
			}
			fmt.Fprintln(&b, line)
		}
	}
	const golden = "testdata/facts.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got; go test -update writes it anew:\n%s", diff)
	}
}

// TestEveryWeaknessIsNamed takes from a container what contains it, one thing at a time: just that must be named.
func TestEveryWeaknessIsNamed(t *testing.T) {
	p := func(c *Container) *Process { return &c.Processes[0] }
	for name, c := range map[string]struct {
		pod    string
		weaken func(*Container, *Kernel)
		what   string
		says   string
	}{
		"no filter of system calls": {"strict", func(c *Container, _ *Kernel) { p(c).Seccomp = "disabled" }, "system calls", "every system call"},
		"new privileges":            {"strict", func(c *Container, _ *Kernel) { p(c).NoNewPrivileges = false }, "privileges", "set-user-id"},
		"a capability in force":     {"strict", func(c *Container, _ *Kernel) { p(c).Capabilities.Effective = []string{"SYS_ADMIN"} }, "capabilities", "SYS_ADMIN"},
		"one within reach":          {"plain", func(c *Container, _ *Kernel) { p(c).Capabilities.Bounding = []string{"BPF"} }, "capabilities", "BPF"},
		"one that was dropped":      {"between", func(c *Container, _ *Kernel) { p(c).Capabilities.Permitted = []string{"MKNOD"} }, "capabilities", "MKNOD"},
		"another user":              {"strict", func(c *Container, _ *Kernel) { p(c).User = 1001 }, "user", "1001"},
		"root":                      {"strict", func(c *Container, _ *Kernel) { p(c).User = 0 }, "user", "root"},
		"another group":             {"strict", func(c *Container, _ *Kernel) { p(c).Group = 0 }, "user", "group 0"},
		"the machine's users":       {"apart", func(c *Container, _ *Kernel) { c.Shared = append(c.Shared, "user") }, "users", "machine's root"},
		"users mapped one to one":   {"apart", func(c *Container, _ *Kernel) { c.Users = []Range{{0, 0, 1 << 32}} }, "users", "machine's root"},
		"the machine's network":     {"strict", func(c *Container, _ *Kernel) { c.Shared = append(c.Shared, "net") }, "namespaces", "net"},
		"the machine's files":       {"strict", func(c *Container, _ *Kernel) { c.Shared = append(c.Shared, "mnt") }, "namespaces", "mnt"},
		"a writable root":           {"strict", func(c *Container, _ *Kernel) { mountAt(c, "/").ReadOnly = false }, "/", "written"},
		"writable settings":         {"strict", func(c *Container, _ *Kernel) { mountAt(c, "/proc/sys").ReadOnly = false }, "/proc, /sys", "/proc/sys can be written to"},
		"kernel's keys":             {"strict", func(c *Container, _ *Kernel) { mountAt(c, "/proc/keys").At = "/dev/x" }, "/proc, /sys", "/proc/keys can be read"},
		"a writable hostPath":       {"mighty", func(c *Container, _ *Kernel) { mountAt(c, "/host/log").ReadOnly = false }, "/host/log", "written"},
		"another directory":         {"mighty", func(c *Container, _ *Kernel) { mountAt(c, "/host/log").Root = "/etc" }, "/host/log", "another directory"},
		"a volume that is missing": {"strict", func(c *Container, _ *Kernel) {
			mountAt(c, "/scratch").At = "/dev/x"
			mountAt(c, "/dev/x").Type = "tmpfs"
		}, "/scratch", "not mounted"},
		"a mount that nobody names": {"strict", func(c *Container, _ *Kernel) { c.Mounts = append(c.Mounts, Mount{At: "/x", Type: "ext4"}) }, "/x", "neither"},
		"one in a volume":           {"strict", func(c *Container, _ *Kernel) { c.Mounts = append(c.Mounts, Mount{At: "/scratch/x", Type: "tmpfs"}) }, "/scratch/x", "neither"},
		"files below /dev":          {"strict", func(c *Container, _ *Kernel) { c.Mounts = append(c.Mounts, Mount{At: "/dev/x", Type: "ext4"}) }, "/dev/x", "neither"},
		"a better class of service": {"plain", func(c *Container, _ *Kernel) { c.Cgroup.QoS = "Guaranteed" }, "class of service", "/kubepods"},
		"more cpu":                  {"strict", func(c *Container, _ *Kernel) { c.Cgroup.Own.CPU = 500 }, "cpu", "more"},
		"no limit of cpu":           {"strict", func(c *Container, _ *Kernel) { c.Cgroup.Own.CPU = 0 }, "cpu", "more"},
		"less cpu":                  {"strict", func(c *Container, _ *Kernel) { c.Cgroup.Own.CPU = 100 }, "cpu", "less"},
		"more shares":               {"plain", func(c *Container, _ *Kernel) { c.Cgroup.Own.Shares = 1024 }, "cpu's share", "more"},
		"no limit of memory":        {"strict", func(c *Container, _ *Kernel) { c.Cgroup.Own.Memory = 0 }, "memory", "more"},
		"no context of SELinux":     {"strict", func(_ *Container, k *Kernel) { k.SELinux = Enforcing }, "SELinux", "another type"},
		"SELinux permissive": {"strict", func(c *Container, k *Kernel) {
			k.SELinux, p(c).Label = Permissive, "system_u:system_r:container_t:s0:c1,c2"
		}, "SELinux", "lets it happen"},
		"no categories": {"strict", func(c *Container, k *Kernel) {
			k.SELinux, p(c).Label = Enforcing, "system_u:system_r:container_t:s0"
		}, "SELinux", "no categories"},
		"no profile of AppArmor": {"strict", func(c *Container, k *Kernel) { k.AppArmor, p(c).Label = true, "unconfined" }, "AppArmor", "no profile"},
		"ended":                  {"strict", func(c *Container, _ *Kernel) { c.Gone = "it ended" }, "process", "it ended"},
	} {
		t.Run(name, func(t *testing.T) {
			pods, m := recorded(t)
			pod := pods[c.pod]
			pod.Spec.InitContainers, pod.Status.InitContainerStatuses = nil, nil
			before := Differing(Compare(pod, Ceilings{}, m))
			for i := range m.Containers {
				if m.Containers[i].ID == IDs(pod)["main"] {
					c.weaken(&m.Containers[i], &m.Kernel)
				}
			}
			after := slices.DeleteFunc(Differing(Compare(pod, Ceilings{}, m)), func(f Fact) bool { return slices.Contains(before, f) })
			if len(after) != 1 || after[0].What != c.what || !strings.Contains(after[0].Differs, c.says) {
				t.Errorf("%q of %q is not what is named: %+v", c.says, c.what, after)
			}
		})
	}
}

func mountAt(c *Container, at string) *Mount {
	for i := range c.Mounts {
		if c.Mounts[i].At == at {
			return &c.Mounts[i]
		}
	}
	panic("nothing is mounted at " + at)
}

// TestGivingUpIsNoDifference: a process may take from itself what it was given.
func TestGivingUpIsNoDifference(t *testing.T) {
	pods, m := recorded(t)
	for i := range m.Containers {
		for j := range m.Containers[i].Processes {
			p := &m.Containers[i].Processes[j]
			p.Capabilities, p.NoNewPrivileges, p.Seccomp, p.Filters = Capabilities{}, true, "filter", 3
		}
	}
	for _, name := range []string{"plain", "strict", "mighty", "apart"} {
		if d := Differing(Compare(pods[name], Ceilings{}, m)); len(d) > 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestOtherProcesses: one that is unlike the first is told apart, and only what is unlike.
func TestOtherProcesses(t *testing.T) {
	pods, m := recorded(t)
	id := IDs(pods["plain"])["main"]
	for i := range m.Containers {
		if c := &m.Containers[i]; c.ID == id {
			other := c.Processes[0]
			other.PID, other.Command, other.Seccomp = 77, "sh", "disabled"
			c.Processes = append(c.Processes, other)
		}
	}
	var got []string
	for _, f := range Compare(pods["plain"], Ceilings{}, m) {
		if f.Process != "" {
			got = append(got, f.Process+": "+f.What+": "+f.Differs)
		}
	}
	if diff := cmp.Diff([]string{"77 sh: system calls: no filter is in force: every system call is let through"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCeilings(t *testing.T) {
	pods, m := recorded(t)
	pod := pods["plain"]
	want := Ceilings{Read: 20 << 20, Write: 10 << 20, WriteOps: 100, In: 100e6, Out: 50e6}
	all := func(c *Container) {
		c.Cgroup.Pod.Disk = []Disk{{Device: "8:0", Read: 20 << 20, Write: 10 << 20, WriteOps: 100}}
		c.Shaped = []Shape{{"in", "tbf", 100e6}, {"out", "htb", 50e6}}
	}
	for name, c := range map[string]struct {
		set  func(*Container)
		want []string
	}{
		"all hold":      {all, nil},
		"no disk":       {func(c *Container) { all(c); c.Cgroup.Pod.Disk = nil }, []string{"disk, read", "disk, write", "disk, writes"}},
		"more network":  {func(c *Container) { all(c); c.Shaped[1].Bits = 60e6 }, []string{"network, out"}},
		"none declared": {func(c *Container) { all(c); c.Cgroup.Own.Disk = []Disk{{Device: "8:16", ReadOps: 5}} }, []string{"disk, reads"}},
	} {
		var container *Container
		for i := range m.Containers {
			if m.Containers[i].ID == IDs(pod)["main"] {
				container = &m.Containers[i]
			}
		}
		container.Cgroup.Own.Disk = nil
		c.set(container)
		var got []string
		for _, f := range Differing(Compare(pod, want, m)) {
			got = append(got, f.What)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
