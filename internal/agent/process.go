package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/unit"
)

// process is a running unit. It outlives the agent: a new agent finds it by its record and goes on watching.
type process struct {
	record
	pidfd int
}

// record is what is written down of a process, in memory that a reboot clears.
type record struct {
	PID       int       `json:"pid"`
	StartTime string    `json:"startTime"` // field 22 of /proc/<pid>/stat: tells a reused pid
	Digest    string    `json:"digest"`
	Since     time.Time `json:"since"`
	Done      bool      `json:"done,omitempty"` // a Once unit that has run to its end
	Live      string    `json:"live,omitempty"` // the Live files that it was last told of, where it must be told
}

func recordPath(dir, name string) string { return filepath.Join(dir, name+".json") }

func readRecord(dir, name string) (record, bool) {
	var r record
	b, err := os.ReadFile(recordPath(dir, name))
	if err != nil || json.Unmarshal(b, &r) != nil {
		return record{}, false
	}
	return r, true
}

func writeRecord(dir, name string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(recordPath(dir, name), b, 0o600)
}

// start runs the unit in a session of its own, its output appended to its log.
func start(u unit.Unit, logDir, recordDir string, now time.Time) (*process, error) {
	log, err := os.OpenFile(filepath.Join(logDir, u.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of unit %s: %w", u.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(u.Args[0], u.Args[1:]...)
	cmd.Env, cmd.Dir = u.Env, "/"
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdout, cmd.Stderr = log, log
	pidfd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start unit %s: %w", u.Name, err)
	}
	p := &process{pidfd: pidfd, record: record{
		PID: cmd.Process.Pid, StartTime: startTime(cmd.Process.Pid), Digest: u.Digest(), Since: now, Live: liveDigest(u)}}
	if err := spare(p.PID, u.OOMScore); err != nil {
		p.stop(0)
		return nil, fmt.Errorf("have unit %s killed last: %w", u.Name, err)
	}
	if err := writeRecord(recordDir, u.Name, p.record); err != nil {
		p.stop(0)
		return nil, fmt.Errorf("record unit %s: %w", u.Name, err)
	}
	return p, nil
}

// adopt finds the process that an earlier agent started, if it still runs.
func adopt(dir, name string) *process {
	r, ok := readRecord(dir, name)
	if !ok || r.Done || r.PID == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return nil
	}
	if st := startTime(r.PID); st == "" || st != r.StartTime {
		unix.Close(fd)
		return nil
	}
	return &process{record: r, pidfd: fd}
}

// wait returns once the process has ended, with its exit code (-1 if it is not ours to know).
func (p *process) wait(ctx context.Context) (int, error) {
	for {
		// poll wakes up regularly only to see whether the context ended.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, 200)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return -1, fmt.Errorf("wait for pid %d: %w", p.PID, err)
		}
		if n > 0 {
			return p.reap(), nil
		}
		if ctx.Err() != nil {
			return -1, ctx.Err()
		}
	}
}

// reap collects the exit code of a process that has ended. That of an adopted one is PID 1's to know.
func (p *process) reap() int {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(p.PID, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}

func (p *process) signal(s unix.Signal) error { return unix.PidfdSendSignal(p.pidfd, s, nil, 0) }

func (p *process) close() { unix.Close(p.pidfd) }

// stop asks the process to end, and kills it when it takes longer than grace.
func (p *process) stop(grace time.Duration) {
	defer p.close()
	_ = p.signal(unix.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), max(grace, time.Second))
	defer cancel()
	if _, err := p.wait(ctx); err == nil {
		return
	}
	_ = p.signal(unix.SIGKILL)
	_, _ = p.wait(context.Background())
}

// startTime is when a process started, in clock ticks since boot; empty if there is none, or only its zombie.
func startTime(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The command's name, in parentheses, may hold spaces and parentheses itself.
	s := string(b)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// writeFile replaces a file at once: a crash leaves the old or the new one. What is right already stays untouched.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if st, err := os.Stat(path); err == nil && st.Mode().Perm() == mode.Perm() {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
