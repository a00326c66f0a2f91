package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

var testCIDR = netip.MustParsePrefix("10.42.7.0/24")

// machines of a test cluster.
var (
	one = []v1alpha1.Machine{{Name: "worker-0", Role: v1alpha1.RoleWorker}}
	few = []v1alpha1.Machine{
		{Name: "lb-0", Role: v1alpha1.RoleLB},
		{Name: "control-plane-0", Role: v1alpha1.RoleControlPlane},
		{Name: "a-pool-of-some-length-0", Role: v1alpha1.RoleWorker},
	}
)

// testProvider makes a provider for a cluster of its own, which is gone after the test.
func testProvider(t *testing.T, init ...string) *Provider {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make machines: run the tests with sudo")
	}
	bundle := testBundle(t)
	if len(init) == 0 {
		init = []string{"/usr/bin/sleep", "infinity"}
	}
	name := "t" + strings.ToLower(rand.Text()[:8])
	p, err := New(Options{Cluster: name, Dir: filepath.Join(t.TempDir(), name), Bundle: bundle, MachineCIDR: testCIDR, Init: init})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// testBundle has a runc: that of the bundle in ASHLAR_TEST_BUNDLE, or else the host's.
func testBundle(t *testing.T) string {
	t.Helper()
	runc, err := exec.LookPath(filepath.Join(os.Getenv("ASHLAR_TEST_BUNDLE"), "bin", "runc"))
	if err != nil {
		runc, err = exec.LookPath("runc")
	}
	if err != nil {
		t.Skip("no runc: set ASHLAR_TEST_BUNDLE to a bundle, or install runc")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(runc, filepath.Join(dir, "bin", "runc")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// up reserves, connects and starts machines, as `ashlar up` does.
func up(t *testing.T, p *Provider, machines []v1alpha1.Machine, rules ...provider.Rule) []provider.Machine {
	t.Helper()
	reserved, err := p.Reserve(t.Context(), machines)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureNetwork(t.Context(), reserved, provider.Network{Rules: rules, Trusted: someTrusted}); err != nil {
		t.Fatal(err)
	}
	for _, m := range reserved {
		if err := p.Start(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	list, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// output runs a shell script on a machine.
func output(t *testing.T, p *Provider, machine, script string) string {
	t.Helper()
	var out, said bytes.Buffer
	err := p.Exec(t.Context(), machine, provider.Exec{Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &said})
	if err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &said)
	}
	return strings.TrimSpace(out.String())
}

// listen serves a port of a machine until the test ends; every connection is told who it comes from.
func listen(t *testing.T, p *Provider, machine provider.Machine, port int) string {
	t.Helper()
	address := netip.AddrPortFrom(machine.Address, uint16(port)).String()
	var l net.Listener
	err := p.RunIn(machine.Name, func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answer(l)
	return address
}

// answer tells every connection who it comes from, until the listener is closed.
func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		_, _ = fmt.Fprint(conn, from)
		_ = conn.Close()
	}
}

// dial connects; it returns what the server said, or the error, and how long that took.
func dial(t *testing.T, p *Provider, vantage, address string) (string, time.Duration, error) {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := p.Dial(ctx, vantage, "tcp", address)
	if err != nil {
		return "", time.Since(start), err
	}
	defer func() { _ = conn.Close() }()
	b := make([]byte, 64)
	n, _ := conn.Read(b)
	return string(b[:n]), time.Since(start), nil
}

// traces is all that a cluster could leave behind on the host.
func traces(t *testing.T, p *Provider) []string {
	t.Helper()
	var out []string
	add := func(kind string, lines ...string) {
		for _, l := range lines {
			out = append(out, kind+" "+l)
		}
	}
	mine := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, p.Cluster) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	add("mount", mine(string(mounts))...)
	namespaces, _ := filepath.Glob(namespacePath("*" + p.Cluster + "*"))
	add("namespace", namespaces...)
	groups, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, g := range groups {
		b, _ := os.ReadFile(g)
		if stat, _ := os.ReadFile(filepath.Join(filepath.Dir(g), "stat")); !strings.Contains(string(stat), ") Z ") { // for the host's init to reap
			add("process "+g, mine(string(b))...)
		}
	}
	roots, err := cgroupRoots()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		dirs, _ := filepath.Glob(filepath.Join(root, "ashlar", p.Cluster))
		add("cgroup", dirs...)
	}
	for _, dir := range []string{p.runDir(), p.machinesDir()} {
		if exists(dir) {
			add("file", dir)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		add("link", l.Name)
	}
	rules, err := nft(t.Context(), "", "-s", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	add("rules", string(rules))
	slices.Sort(out)
	return out
}
