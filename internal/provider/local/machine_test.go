package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

func TestDestroyLeavesNothing(t *testing.T) {
	p := testProvider(t)
	before := traces(t, p)
	up(t, p, few)
	output(t, p, few[0].Name, "mkdir -p /mnt/x && mount -t tmpfs x /mnt/x && (setsid sleep 1000 >/dev/null 2>&1 &)")
	during := traces(t, p)
	if cmp.Equal(before, during) {
		t.Fatal("a running cluster shows no traces: the test is blind")
	}
	for _, line := range during {
		if strings.HasPrefix(line, "mount") && !strings.Contains(line, namespaceDir) {
			t.Errorf("a mount of a machine shows on the host: %s", line)
		}
	}
	if err := p.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, traces(t, p)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	if err := p.Destroy(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// Whoever lost the state directory can still remove everything that runs.
func TestDestroyWithoutStateDirectory(t *testing.T) {
	p := testProvider(t)
	before := traces(t, p)
	up(t, p, one)
	if err := os.RemoveAll(p.Dir); err != nil {
		t.Fatal(err)
	}
	if err := p.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, traces(t, p)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

func TestPower(t *testing.T) {
	p := testProvider(t)
	ctx := t.Context()
	m := up(t, p, one)[0]
	if m.State != provider.Running {
		t.Fatalf("state %s after Start", m.State)
	}
	output(t, p, m.Name, "echo disk > /var/lib/x; echo memory > /run/x")
	first, _ := p.running(m.Name)
	if err := p.Start(ctx, m, nil); err != nil {
		t.Fatal(err)
	}
	if again, _ := p.running(m.Name); again != first {
		t.Error("Start restarted a running machine")
	}
	if err := p.PowerOff(ctx, m.Name); err != nil {
		t.Fatal(err)
	}
	if s := p.state(m.Name); s != provider.Stopped {
		t.Fatalf("state %s after PowerOff", s)
	}
	if err := p.Exec(ctx, m.Name, provider.Exec{Args: []string{"/bin/true"}}); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("exec on a stopped machine: %v", err)
	}
	if b, err := p.Read(ctx, m.Name, "/var/lib/x"); string(b) != "disk\n" {
		t.Errorf("read from a stopped machine: %q, %v", b, err)
	}
	if err := p.PowerOff(ctx, m.Name); err != nil {
		t.Errorf("PowerOff of a stopped machine: %v", err)
	}
	again := up(t, p, one)[0]
	if again != m {
		t.Errorf("after a reboot: %+v, before: %+v", again, m)
	}
	if got := output(t, p, m.Name, "cat /var/lib/x; test -e /run/x || echo cleared; hostname"); got != "disk\ncleared\nworker-0" {
		t.Errorf("after a reboot: %q", got)
	}
	if err := p.Delete(ctx, m.Name); err != nil {
		t.Fatal(err)
	}
	if list, _ := p.List(ctx); len(list) != 0 {
		t.Errorf("after Delete: %v", list)
	}
	if err := p.Delete(ctx, m.Name); err != nil {
		t.Errorf("Delete of no machine: %v", err)
	}
}

// A machine that ended by itself, or whose host did, is not running, and Start makes all of it anew.
func TestStartRepairs(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, *Provider, provider.Machine){
		"the first process was killed": func(t *testing.T, p *Provider, m provider.Machine) {
			first, _ := p.running(m.Name)
			if err := first.kill(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"the host rebooted": func(t *testing.T, p *Provider, m provider.Machine) {
			first, _ := p.running(m.Name)
			for _, err := range []error{
				first.kill(t.Context()), removeNamespace(p.machineNamespace(m.Name)), removeNamespace(p.fabricNamespace()),
				removeNamespace(p.internetNamespace()), os.RemoveAll(p.runDir()), clearCgroup("/ashlar/" + p.Cluster),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
		},
		"a crash left a namespace's file without a namespace": func(t *testing.T, p *Provider, m provider.Machine) {
			if err := p.PowerOff(t.Context(), m.Name); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(namespacePath(p.machineNamespace(m.Name)), nil, 0o444); err != nil {
				t.Fatal(err)
			}
		},
		"runc's state is of no use": func(t *testing.T, p *Provider, m provider.Machine) {
			if err := os.WriteFile(filepath.Join(p.runcRoot(), m.Name, "state.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := testProvider(t)
			m := up(t, p, one)[0]
			damage(t, p, m)
			if s := p.state(m.Name); s != provider.Stopped {
				t.Fatalf("state %s, want it stopped", s)
			}
			if again := up(t, p, one)[0]; again != m {
				t.Errorf("%+v, want %+v", again, m)
			}
			address := listen(t, p, m, 80)
			if said, _, err := dial(t, p, m.Name, address); err != nil || said != m.Address.String() {
				t.Errorf("connection to itself: %q, %v", said, err)
			}
		})
	}
}

// A process that is starting machines and is killed, at moments spread over the whole of it, leaves nothing that the
// next call does not repair.
func TestStartKilled(t *testing.T) {
	if os.Getenv("LOCAL_TEST_DIR") != "" {
		up(t, helperProvider(t), few)
		time.Sleep(time.Minute)
		return
	}
	p := testProvider(t)
	for delay := 5 * time.Millisecond; delay < 200*time.Millisecond; delay += 13 * time.Millisecond {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStartKilled$")
		cmd.Env = helperEnv(p)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, m := range up(t, p, few) {
			if m.State != provider.Running {
				t.Fatalf("killed after %s: machine %s is %s", delay, m.Name, m.State)
			}
			if got := output(t, p, m.Name, "cat /etc/hostname"); got != m.Name {
				t.Errorf("killed after %s: exec says %q", delay, got)
			}
		}
		list, _ := p.List(t.Context())
		if drift, err := p.NetworkDrift(t.Context(), list, provider.Network{Trusted: someTrusted}); err != nil || len(drift) > 0 {
			t.Errorf("killed after %s: %v %v", delay, drift, err)
		}
		for _, m := range list {
			if err := p.Delete(t.Context(), m.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The test runs itself as another process, with the same cluster.
func helperEnv(p *Provider) []string {
	return append(os.Environ(), "LOCAL_TEST_DIR="+p.Dir, "LOCAL_TEST_CLUSTER="+p.Cluster, "LOCAL_TEST_BUNDLE="+p.Bundle)
}

func helperProvider(t *testing.T) *Provider {
	t.Helper()
	p, err := New(Options{
		Cluster: os.Getenv("LOCAL_TEST_CLUSTER"), Dir: os.Getenv("LOCAL_TEST_DIR"), Bundle: os.Getenv("LOCAL_TEST_BUNDLE"),
		MachineCIDR: testCIDR, Init: []string{"/usr/bin/sleep", "infinity"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStartInParallel(t *testing.T) {
	p := testProvider(t)
	var many []v1alpha1.Machine
	for _, name := range []string{"a-0", "a-1", "a-2", "a-3", "a-4", "a-5"} {
		many = append(many, v1alpha1.Machine{Name: name, Role: v1alpha1.RoleWorker})
	}
	reserved, err := p.Reserve(t.Context(), many)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	g, ctx := errgroup.WithContext(t.Context())
	for _, m := range append(reserved, reserved...) { // twice each: the second finds it running
		g.Go(func() error { return p.Start(ctx, m, nil) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d machines in %s", len(many), time.Since(start))
	list, _ := p.List(t.Context())
	for _, m := range list {
		if m.State != provider.Running {
			t.Errorf("%s is %s", m.Name, m.State)
		}
	}
}

func TestExec(t *testing.T) {
	p := testProvider(t)
	m := up(t, p, one)[0]
	var failed *exec.ExitError
	err := p.Exec(t.Context(), m.Name, provider.Exec{Args: []string{"/bin/sh", "-c", "exit 7"}})
	if !errors.As(err, &failed) || failed.ExitCode() != 7 {
		t.Errorf("exit 7 came back as %v", err)
	}
	var out strings.Builder
	err = p.Exec(t.Context(), m.Name, provider.Exec{Args: []string{"/bin/sh", "-c", "cat; echo $SECRET"}, Env: []string{"SECRET=s"},
		Stdin: strings.NewReader("in "), Stdout: &out})
	if err != nil || out.String() != "in s\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	// It is a process of the machine in every way.
	for _, ns := range []string{"pid", "mnt", "net", "uts", "ipc", "cgroup"} {
		got := output(t, p, m.Name, "[ $(readlink /proc/self/ns/"+ns+") = $(readlink /proc/1/ns/"+ns+") ] && echo same")
		if got != "same" {
			t.Errorf("the %s namespace is not the machine's", ns)
		}
	}
	if got := output(t, p, m.Name, "grep -v ':/$' /proc/self/cgroup || echo none"); got != "none" {
		t.Errorf("not in the machine's cgroups:\n%s", got)
	}
	if got := output(t, p, m.Name, "ls /etc/shadow /etc/ssl/private 2>/dev/null; touch /usr/x /opt/ashlar/bundle/x 2>/dev/null; ls /usr/x /opt/ashlar/bundle/x 2>/dev/null; echo end"); got != "end" {
		t.Errorf("the host shows through: %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Exec(ctx, m.Name, provider.Exec{Args: []string{"/bin/sleep", "77"}}); err == nil {
		t.Error("a cancelled command succeeded")
	}
	if got := output(t, p, m.Name, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep[ ]77' || true"); got != "0" {
		t.Error("a cancelled command goes on")
	}
}

// A terminal is handed through. script(1) gives the test one.
func TestExecTerminal(t *testing.T) {
	if os.Getenv("LOCAL_TEST_DIR") != "" {
		p := helperProvider(t)
		err := p.Exec(t.Context(), "worker-0", provider.Exec{TTY: true, Args: []string{"/bin/sh", "-c", "tty && test -t 1 && read line && echo got:$line; exit 7"}})
		t.Log(err)
		return
	}
	p := testProvider(t)
	up(t, p, one)
	cmd := exec.Command("script", "-qec", os.Args[0]+" -test.v -test.run=^TestExecTerminal$", "/dev/null")
	cmd.Env = helperEnv(p)
	cmd.Stdin = strings.NewReader("typed\n")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"/dev/pts/0", "got:typed", "exit status 7"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %v:\n%s", want, err, out)
		}
	}
}

func TestFiles(t *testing.T) {
	p := testProvider(t)
	ctx := t.Context()
	reserved, err := p.Reserve(ctx, one)
	if err != nil {
		t.Fatal(err)
	}
	m := reserved[0]
	boot := []provider.File{{Path: "/etc/ashlar/boot.json", Mode: 0o600, Content: []byte("boot")}}
	if err := p.Write(ctx, m.Name, boot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write to a machine without a disk: %v", err)
	}
	if err := p.Start(ctx, m, boot); err != nil {
		t.Fatal(err)
	}
	if got := output(t, p, m.Name, "cat /etc/ashlar/boot.json; stat -c ' %a' /etc/ashlar/boot.json"); got != "boot 600" {
		t.Errorf("the file the machine booted with: %q", got)
	}
	if _, err := p.Read(ctx, m.Name, "/etc/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of no file: %v", err)
	}
	for _, path := range []string{"/run/x", "/tmp/x", "/usr/x", "/opt/ashlar/bundle/x", "/", "relative", "/etc/../run/x"} {
		if err := p.Write(ctx, m.Name, []provider.File{{Path: path}}); err == nil {
			t.Errorf("wrote %s", path)
		}
	}
	// Root of the machine lays traps for root of the host.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	up3 := strings.Repeat("../", 20)
	output(t, p, m.Name, "mkdir /trap && ln -s "+up3+filepath.Dir(secret)+" /trap/dir && ln -s "+up3+secret+" /trap/file && mkfifo /trap/pipe")
	for _, path := range []string{"/trap/dir/secret", "/trap/file", "/trap/pipe"} {
		if b, err := p.Read(ctx, m.Name, path); err == nil {
			t.Errorf("read %q through %s", b, path)
		}
		_ = p.Write(ctx, m.Name, []provider.File{{Path: path, Content: []byte("machine")}})
	}
	if b, _ := os.ReadFile(secret); string(b) != "host" {
		t.Errorf("a machine had us write %q to the host", b)
	}
}
