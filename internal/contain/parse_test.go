package contain

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const status = `Name:	sh
Umask:	0022
Pid:	77
Uid:	1000	100000	1000	1000
Gid:	1000	100001	1000	1000
CapInh:	0000000000000000
CapPrm:	00000000a80425fb
CapEff:	0000000000003000
CapBnd:	00000200a80425fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

func TestStatus(t *testing.T) {
	p, err := parseStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != 77 || p.Command != "sh" || p.User != 100000 || p.Group != 100001 || p.Seccomp != "filter" || p.Filters != 1 || !p.NoNewPrivileges {
		t.Errorf("got %+v", p)
	}
	if !slices.Equal(p.Capabilities.Permitted, runtimes) {
		t.Errorf("the set that every runtime begins with is read as %v", p.Capabilities.Permitted)
	}
	if diff := cmp.Diff([]string{"NET_ADMIN", "NET_RAW"}, p.Capabilities.Effective); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(p.Capabilities.Bounding, "41") {
		t.Errorf("a capability without a name is lost: %v", p.Capabilities.Bounding)
	}
	for _, field := range []string{"Seccomp:", "CapBnd:", "Uid:"} {
		if _, err := parseStatus(strings.Replace(status, field, "X:", 1)); err == nil {
			t.Errorf("without %s it is taken for something", field)
		}
	}
}

func TestUsers(t *testing.T) {
	all, err := parseRanges("         0          0 4294967295\n")
	if err != nil || own(all) || inside(all, 1000) != 1000 {
		t.Errorf("got %v, %v", all, err)
	}
	some, err := parseRanges("0 100000 1000\n1000 200000 1000\n")
	if err != nil || !own(some) {
		t.Errorf("got %v, %v", some, err)
	}
	for id, want := range map[int]int{100000: 0, 100999: 999, 200000: 1000, 0: overflow, 99999: overflow} {
		if got := inside(some, id); got != want {
			t.Errorf("%d is %d inside, not %d", id, got, want)
		}
	}
	if _, err := parseRanges("0 x 1\n"); err == nil {
		t.Error("nonsense is a map")
	}
}

const mountinfo = `22 1 254:0 /machine / rw - ext4 /dev/vda rw
23 22 0:20 / /run rw,nosuid - tmpfs tmpfs rw
24 22 254:1 /data /var/lib/data rw shared:3 - xfs /dev/vdb rw
25 22 254:0 /one /mnt/two\040words ro,relatime - ext4 /dev/vda rw
26 22 0:30 / /full rw - tmpfs tmpfs ro,size=1
27 22 0:31 /later /full rw - tmpfs tmpfs rw
`

func TestMounts(t *testing.T) {
	all := parseMounts(mountinfo)
	if len(all) != 5 {
		t.Errorf("got %d mounts: %+v", len(all), all)
	}
	m, ok := find(all, "/mnt/two words")
	if !ok || !m.ReadOnly || m.Root != "/one" {
		t.Errorf("got %+v, %v", m, ok)
	}
	if m, _ := find(all, "/full"); m.Root != "/later" || m.ReadOnly {
		t.Errorf("what was mounted last is not what is seen: %+v", m)
	}
	if m, ok := find(all, "/var/run/"); !ok || m.At != "/run" {
		t.Errorf("/var/run is not /run: %+v", m)
	}
	for path, want := range map[string][2]string{
		"/etc/x": {"254:0", "/machine/etc/x"}, "/run/a/../b": {"0:20", "/b"}, "/var/lib/data": {"254:1", "/data"}, "/var/lib/database": {"254:0", "/machine/var/lib/database"},
	} {
		device, root := placed(all, path)
		if got := [2]string{device, root}; got != want {
			t.Errorf("%s is at %v, not %v", path, got, want)
		}
		if name := origin(all, Mount{Device: device, Root: root}); name != strings.TrimSuffix(strings.Replace(path, "a/../", "", 1), "/") {
			t.Errorf("%s is called %s", path, name)
		}
	}
}

func TestCgroups(t *testing.T) {
	one := hierarchyOf(`30 1 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`)
	two := hierarchyOf("30 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
	if one.version != 1 || two.version != 2 {
		t.Fatalf("got versions %d and %d", one.version, two.version)
	}
	const in1, in2 = "4:cpu,cpuacct:/kubepods/burstable/podx/y\n3:memory:/kubepods/burstable/podx/y\n0::/z\n", "0::/kubepods.slice/kubepods-podx.slice/cri-containerd-y.scope\n"
	if mounted, below := one.directory(in1, "cpu"); mounted != "/sys/fs/cgroup/cpu,cpuacct" || below != "/kubepods/burstable/podx/y" {
		t.Errorf("got %s, %s", mounted, below)
	}
	if mounted, below := two.directory(in2, "cpu"); mounted != "/sys/fs/cgroup" || qos(below) != "Guaranteed" || above(below) != "/kubepods.slice/kubepods-podx.slice" {
		t.Errorf("got %s, %s", mounted, below)
	}
	for path, want := range map[string]string{"/kubepods/besteffort/podx/y": "BestEffort", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/y.scope": "Burstable", "/system.slice": ""} {
		if got := qos(path); got != want {
			t.Errorf("%s is %q, not %q", path, got, want)
		}
	}
	files := func(all map[string]string) func(string, string) string {
		return func(_, file string) string { return all[file] }
	}
	for name, c := range map[string]struct {
		of   hierarchy
		file map[string]string
		want Limits
	}{
		"version 1": {one, map[string]string{"cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "100000", "cpu.shares": "51", "memory.limit_in_bytes": "67108864", "pids.max": "4096",
			"blkio.throttle.read_bps_device": "8:0 1048576\n8:16 2097152\n", "blkio.throttle.write_iops_device": "8:0 100\n"},
			Limits{CPU: 250, Shares: 51, Memory: 64 << 20, Processes: 4096, Disk: []Disk{{Device: "8:0", Read: 1 << 20, WriteOps: 100}, {Device: "8:16", Read: 2 << 20}}}},
		"version 1 without": {one, map[string]string{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cpu.shares": "2", "memory.limit_in_bytes": "9223372036854771712", "pids.max": "max"}, Limits{Shares: 2}},
		"version 2": {two, map[string]string{"cpu.max": "25000 100000", "cpu.weight": "20", "memory.max": "67108864", "pids.max": "12", "io.max": "8:0 rbps=1048576 wbps=max riops=max wiops=100\n"},
			Limits{CPU: 250, Weight: 20, Memory: 64 << 20, Processes: 12, Disk: []Disk{{Device: "8:0", Read: 1 << 20, WriteOps: 100}}}},
		"version 2 without": {two, map[string]string{"cpu.max": "max 100000", "cpu.weight": "1", "memory.max": "max", "pids.max": "max"}, Limits{Weight: 1}},
	} {
		if diff := cmp.Diff(c.want, c.of.limitsOf(files(c.file))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestListening(t *testing.T) {
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 x 100 0 0 10 0
   2: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 333 1 x 100 0 0 10 0
`
	got := taken(listening("TCP", tcp), map[string]bool{"111": true, "333": true})
	if diff := cmp.Diff([]string{"8080/TCP"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestThisProcess reads what the kernel really says, of this process and of one with no new privileges.
func TestThisProcess(t *testing.T) {
	p, err := process(os.Getpid(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != os.Getpid() || p.User != os.Geteuid() {
		t.Errorf("got %+v", p)
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("this host has no setpriv")
	}
	args := []string{"--no-new-privs"}
	if os.Geteuid() == 0 {
		args = append(args, "--bounding-set=-all,+chown", "--inh-caps=-all")
	}
	cmd := exec.Command(setpriv, append(args, "cat")...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	// What comes back comes from cat: setpriv has done its work by then.
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if p, err = process(cmd.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if !p.NoNewPrivileges {
		t.Errorf("no new privileges is not seen: %+v", p)
	}
	if os.Geteuid() == 0 && !slices.Equal(p.Capabilities.Bounding, []string{"CHOWN"}) {
		t.Errorf("got the bounding set %v", p.Capabilities.Bounding)
	}
}
