package agent

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/unit"
)

// dirs are a supervisor's, and outlive it as they do on a machine.
type dirs struct{ logs, records string }

// begin starts a supervisor; end leaves its units running, as a killed agent does.
func (d dirs) begin(t *testing.T) (s *supervisor, ctx context.Context, end func()) {
	t.Helper()
	s, err := newSupervisor(d.logs, d.records)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end = func() { cancel(); s.wg.Wait() }
	t.Cleanup(end)
	return s, ctx, end
}

func newDirs(t *testing.T) dirs { return dirs{t.TempDir(), t.TempDir()} }

// kill ends a unit that is left over when a test ends.
func (d dirs) kill(t *testing.T, name string) {
	t.Cleanup(func() {
		if p := adopt(d.records, name); p != nil {
			p.stop(time.Second)
		}
	})
}

func sleeper(name string) unit.Unit {
	return unit.Unit{Name: name, Args: []string{"/bin/sleep", "600"}}
}

// await waits until a unit is as it should be.
func await(t *testing.T, s *supervisor, name string, is func(UnitStatus) bool) UnitStatus {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		change := s.changes()
		for _, u := range s.statuses() {
			if u.Name == name && is(u) {
				return u
			}
		}
		select {
		case <-change:
		case <-deadline:
			t.Fatalf("unit %s did not come to it: %+v", name, s.statuses())
		}
	}
}

func ready(u UnitStatus) bool { return u.State == UnitReady }
func done(u UnitStatus) bool  { return u.State == UnitDone }

// alive says whether there is such a process; a zombie is none.
func alive(pid int) bool { return startTime(pid) != "" }

func TestKilledUnitComesBack(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	s, ctx, _ := d.begin(t)
	s.apply(ctx, []unit.Unit{sleeper("a")}, false)
	first := await(t, s, "a", ready)
	if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(t, s, "a", func(u UnitStatus) bool { return ready(u) && u.PID != first.PID })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was back only after %s", took)
	}
}

func TestNextSupervisorAdopts(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	s, ctx, end := d.begin(t)
	s.apply(ctx, []unit.Unit{sleeper("a")}, false)
	first := await(t, s, "a", ready)
	end()
	if !alive(first.PID) {
		t.Fatal("the unit ended with its supervisor")
	}
	s, ctx, _ = d.begin(t)
	s.apply(ctx, []unit.Unit{sleeper("a")}, false)
	if again := await(t, s, "a", ready); again.PID != first.PID {
		t.Errorf("pid %d became %d: the unit was restarted", first.PID, again.PID)
	}
}

func TestRemovedUnitStops(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	s, ctx, _ := d.begin(t)
	s.apply(ctx, []unit.Unit{sleeper("a")}, false)
	first := await(t, s, "a", ready)
	s.apply(ctx, nil, false)
	if alive(first.PID) {
		t.Error("the unit still runs")
	}
}

func TestChangedUnitRestarts(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	s, ctx, _ := d.begin(t)
	s.apply(ctx, []unit.Unit{sleeper("a")}, false)
	first := await(t, s, "a", ready)
	changed := sleeper("a")
	changed.Env = []string{"A=b"}
	s.apply(ctx, []unit.Unit{changed}, false)
	await(t, s, "a", func(u UnitStatus) bool { return ready(u) && u.PID != first.PID })
	if alive(first.PID) {
		t.Error("the old process still runs")
	}
}

// TestEditedFile: an edited file is written again, and its unit restarted, when repair is asked for and not before.
// TestUsersStopFirst: what another unit uses runs until that one has stopped.
func TestUsersStopFirst(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "used")
	d.kill(t, "user")
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := func(name, end, version string) unit.Unit {
		return unit.Unit{Name: name, Grace: 10 * time.Second, Env: []string{"PATH=/usr/bin:/bin", "VERSION=" + version},
			Args: []string{"/bin/sh", "-c", `trap '` + end + `; echo "$0" >> ` + said + `; exit' TERM; : > ` + dir + `/$0; while :; do sleep 0.02; done`, name}}
	}
	units := func(version string) []unit.Unit {
		used, user := script("used", ":", version), script("user", "sleep 0.3", version)
		user.After = []string{"used"}
		return []unit.Unit{used, user}
	}
	s, ctx, _ := d.begin(t)
	s.apply(ctx, units("1"), false)
	first := map[string]int{"used": await(t, s, "used", ready).PID, "user": await(t, s, "user", ready).PID}
	for name := range first { // they listen
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	s.apply(ctx, units("2"), false)
	for name, pid := range first {
		await(t, s, name, func(u UnitStatus) bool { return ready(u) && u.PID != pid })
	}
	if b, err := os.ReadFile(said); err != nil || string(b) != "user\nused\n" {
		t.Errorf("they stopped in the order %q (%v)", b, err)
	}
}

func TestEditedFile(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	u := sleeper("a")
	u.Files = []unit.File{{Path: filepath.Join(t.TempDir(), "config"), Mode: 0o600, Content: "right"}}
	s, ctx, _ := d.begin(t)
	s.apply(ctx, []unit.Unit{u}, false)
	first := await(t, s, "a", ready)
	if err := os.WriteFile(u.Files[0].Path, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.apply(ctx, []unit.Unit{u}, false)
	if !alive(first.PID) {
		t.Fatal("it was restarted without being asked to")
	}
	s.apply(ctx, []unit.Unit{u}, true)
	await(t, s, "a", func(u UnitStatus) bool { return ready(u) && u.PID != first.PID })
	if b, err := os.ReadFile(u.Files[0].Path); err != nil || string(b) != "right" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
}

// TestOnceInOrder: a Once unit runs after the files that it needs, and once in the life of two supervisors.
func TestOnceInOrder(t *testing.T) {
	d := newDirs(t)
	dir := t.TempDir()
	input, output := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	units := []unit.Unit{
		{Name: "once", After: []string{"files"}, Once: true, Args: []string{"/bin/sh", "-c", "cat " + input + " >> " + output}},
		{Name: "files", Files: []unit.File{{Path: input, Mode: 0o600, Content: "x"}}},
	}
	for range 2 {
		s, ctx, end := d.begin(t)
		s.apply(ctx, units, false)
		await(t, s, "files", done)
		await(t, s, "once", done)
		end()
	}
	if b, err := os.ReadFile(output); err != nil || string(b) != "x" {
		t.Errorf("it wrote %q (%v), want one x", b, err)
	}
}

// TestReusedPID: a record whose process is another one by now is not adopted.
func TestReusedPID(t *testing.T) {
	dir := t.TempDir()
	if err := writeRecord(dir, "a", record{PID: os.Getpid(), StartTime: "1"}); err != nil {
		t.Fatal(err)
	}
	if p := adopt(dir, "a"); p != nil {
		t.Errorf("pid %s was adopted", strconv.Itoa(p.PID))
	}
}

// TestToldOfLiveFiles: a process that must be told of a changed live file is told once, also by the next agent if this one
// died before it could.
func TestToldOfLiveFiles(t *testing.T) {
	d, dir := newDirs(t), t.TempDir()
	d.kill(t, "a")
	told := filepath.Join(dir, "told")
	u := unit.Unit{Name: "a", ReloadSignal: int(unix.SIGUSR2), Env: []string{"PATH=/usr/bin:/bin", "told=" + told},
		Args:  []string{"/bin/sh", "-c", `trap 'cat "$0" >> "$told"' USR2; echo start > "$told"; while :; do sleep 0.02; done`, filepath.Join(dir, "live")},
		Files: []unit.File{{Path: filepath.Join(dir, "live"), Mode: 0o600, Content: "1", Live: true}}}
	with := func(content string) []unit.Unit {
		changed := u
		changed.Files = []unit.File{u.Files[0]}
		changed.Files[0].Content = content
		return []unit.Unit{changed}
	}
	heard := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if b, err := os.ReadFile(told); err == nil && string(b) == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("it heard %q (%v), want %q", b, err, want)
			}
		}
	}
	s, ctx, end := d.begin(t)
	s.apply(ctx, with("1"), false)
	first := await(t, s, "a", ready)
	heard("start\n")
	s.apply(ctx, with("2"), false)
	heard("start\n2")
	await(t, s, "a", ready)
	end()
	// An agent that died between the file and the signal.
	if err := os.WriteFile(u.Files[0].Path, []byte("3"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, ctx, end = d.begin(t)
	s.apply(ctx, with("3"), false)
	heard("start\n23")
	await(t, s, "a", ready)
	end()
	s, ctx, _ = d.begin(t)
	s.apply(ctx, with("3"), false)
	if now := await(t, s, "a", ready); now.PID != first.PID {
		t.Error("the unit was restarted")
	}
	heard("start\n23")
}

// A live file is written under a running process, when it changes and when it was edited; another file restarts it.
func TestLiveFiles(t *testing.T) {
	d, dir := newDirs(t), t.TempDir()
	d.kill(t, "a")
	live, fixed := filepath.Join(dir, "live"), filepath.Join(dir, "fixed")
	u := sleeper("a")
	u.Files = []unit.File{{Path: live, Mode: 0o600, Content: "1", Live: true}, {Path: fixed, Mode: 0o600, Content: "1"}}
	with := func(live, fixed string) []unit.Unit {
		changed := u
		changed.Files = []unit.File{u.Files[0], u.Files[1]}
		changed.Files[0].Content, changed.Files[1].Content = live, fixed
		return []unit.Unit{changed}
	}
	s, ctx, _ := d.begin(t)
	s.apply(ctx, with("1", "1"), false)
	first := await(t, s, "a", ready)
	says := func(path, want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if b, err := os.ReadFile(path); err == nil && string(b) == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%s says %q (%v), want %q", path, b, err, want)
			}
		}
	}
	s.apply(ctx, with("2", "1"), false)
	if now := s.statuses()[0]; !ready(now) {
		t.Errorf("a changed live file made it %+v", now)
	}
	says(live, "2")
	if now := await(t, s, "a", ready); now.PID != first.PID {
		t.Error("a changed live file restarted the unit")
	}
	if err := os.WriteFile(live, []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.apply(ctx, with("2", "1"), true)
	says(live, "2")
	if now := await(t, s, "a", ready); now.PID != first.PID {
		t.Error("a live file that was edited restarted the unit")
	}
	s.apply(ctx, with("2", "2"), false)
	says(fixed, "2")
	await(t, s, "a", func(st UnitStatus) bool { return ready(st) && st.PID != first.PID })
}

// A process that uses a certificate which was revoked comes back; the others go on.
func TestRestart(t *testing.T) {
	d := newDirs(t)
	d.kill(t, "a")
	d.kill(t, "b")
	cert := func(name string) unit.Certificate {
		p := unit.Profile{CA: unit.CA("../../.." + t.TempDir()), Name: name}
		if err := os.WriteFile(p.CertFile(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return unit.Certificate{Profile: p}
	}
	a, b := sleeper("a"), sleeper("b")
	a.Certificates, b.Certificates = []unit.Certificate{cert("a")}, []unit.Certificate{cert("b")}
	s, ctx, _ := d.begin(t)
	s.apply(ctx, []unit.Unit{a, b}, false)
	first, other := await(t, s, "a", ready), await(t, s, "b", ready)
	s.restart(a.Certificates)
	await(t, s, "a", func(st UnitStatus) bool { return ready(st) && st.PID != first.PID })
	if now := await(t, s, "b", ready); now.PID != other.PID {
		t.Error("a unit that does not use the certificate was restarted")
	}
}
