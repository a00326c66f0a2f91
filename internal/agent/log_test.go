package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/unit"
)

func TestRotateLogs(t *testing.T) {
	dir := t.TempDir()
	large, small := filepath.Join(dir, "large.log"), filepath.Join(dir, "small.log")
	writer, err := os.OpenFile(large, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func(s string) {
		t.Helper()
		if _, err := writer.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat("x", 101))
	if err := os.WriteFile(small, []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rotateLogs(dir, 100); err != nil {
		t.Fatal(err)
	}
	write("after") // by the same open file, as a running unit does

	for path, want := range map[string]string{large: "after", large + ".1": strings.Repeat("x", 101), small: "y"} {
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
		}
	}
}

// TestRotateOwnLogs: a unit that writes a log itself loses nothing of it, and goes on in a new file.
func TestRotateOwnLogs(t *testing.T) {
	log := filepath.Join(t.TempDir(), "own.log")
	d := newDirs(t)
	s, ctx, _ := d.begin(t)
	d.kill(t, "writer")
	s.apply(ctx, []unit.Unit{{Name: "writer", Args: []string{"/bin/bash", "-c",
		`again() { exec 3>>"$0"; }; again; trap again USR1; for ((n = 0; ; n++)); do echo $n >&3; sleep 0.01; done`, log},
		Env: []string{"PATH=/usr/bin:/bin"}, Logs: []string{log}, ReloadSignal: int(unix.SIGUSR1)}}, false)
	for round := range KeptLogs + 2 {
		grown(t, log, 20)
		if err := s.rotateOwnLogs(20); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	grown(t, log, 1)
	var all []string
	for n := KeptLogs; n > 0; n-- {
		b, err := os.ReadFile(fmt.Sprintf("%s.%d", log, n))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(b))...)
	}
	for i, n := range all[1:] {
		was, _ := strconv.Atoi(all[i])
		if is, _ := strconv.Atoi(n); is != was+1 {
			t.Errorf("%s follows %s", n, all[i])
		}
	}
	if _, err := os.Stat(fmt.Sprintf("%s.%d", log, KeptLogs+1)); err == nil {
		t.Error("more parts are kept than should be")
	}
}

// grown waits until a file is larger than size.
func grown(t *testing.T, path string, size int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if st, err := os.Stat(path); err == nil && st.Size() > size {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not grown to %d", path, size)
		}
	}
}
