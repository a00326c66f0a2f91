package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/provider"
)

// initProcess is the first process of a machine, as runc wrote it down.
type initProcess struct {
	PID   int    `json:"init_process_pid"`
	Start uint64 `json:"init_process_start"` // field 22 of /proc/<pid>/stat: tells a reused pid
}

// state is quick: it asks the kernel, not runc.
func (p *Provider) state(name string) provider.State {
	if _, running := p.running(name); running {
		return provider.Running
	}
	if exists(p.rootfs(name)) {
		return provider.Stopped
	}
	return provider.Absent
}

// running returns the first process of a machine that has come up.
func (p *Provider) running(name string) (initProcess, bool) {
	i, ok := p.created(name)
	// runc removes the FIFO when it lets the first process go.
	return i, ok && !exists(filepath.Join(p.runcRoot(), name, "exec.fifo"))
}

// created returns the first process of a machine, up or just being made.
func (p *Provider) created(name string) (initProcess, bool) {
	var i initProcess
	b, err := os.ReadFile(filepath.Join(p.runcRoot(), name, "state.json"))
	if err != nil || json.Unmarshal(b, &i) != nil || i.PID <= 1 {
		return initProcess{}, false
	}
	return i, i.alive()
}

func (i initProcess) alive() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", i.PID))
	if err != nil {
		return false
	}
	// pid (comm) state ppid …: comm may hold anything, so look from its end.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return err == nil && start == i.Start
}

// kill ends the first process, and with it all of its PID namespace, and waits until that is done.
func (i initProcess) kill(ctx context.Context) error {
	fd, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", i.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !i.alive() { // the pid was reused before we held it
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", i.PID, err)
	}
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d to end: %w", i.PID, err)
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("wait for process %d to end: %w", i.PID, ctx.Err())
}

// thisHost reads what machines take over from the host.
func thisHost() (host, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return host{}, fmt.Errorf("read the limit of open files: %w", err)
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return host{}, fmt.Errorf("read this process's capabilities: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return host{capabilities: bits, openFiles: limit.Max}, err
		}
	}
	return host{}, errors.New("this process's status shows no capabilities")
}
