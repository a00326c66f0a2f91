// Command ashlar-init is the first process of a local machine. It keeps the agent running and reaps orphans,
// and does nothing else, so that it never needs to be restarted.
//
//	ashlar-init COMMAND [ARGUMENT…]
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	logFile  = "/var/log/ashlar/agent.log"
	interval = time.Second     // between two starts of the command
	grace    = 5 * time.Second // for everything to end after SIGTERM
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: ashlar-init COMMAND [ARGUMENT…]")
		os.Exit(64)
	}
	if err := delegateCgroups("/sys/fs/cgroup"); err != nil {
		fmt.Fprintln(os.Stderr, "ashlar-init: hand the cgroup controllers down:", err)
	}
	child, term := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	supervise(os.Args[1:], child, term)
}

// supervise returns, which ends the machine, after a request to terminate.
func supervise(command []string, child, term <-chan os.Signal) {
	var (
		pid      int
		last     time.Time
		restart  = time.After(0)
		deadline <-chan time.Time
	)
	for {
		select {
		case <-restart:
			last = time.Now()
			started, err := start(command)
			if err != nil {
				fmt.Fprintf(os.Stderr, "ashlar-init: start %s: %v\n", command[0], err)
				restart = time.After(interval)
				continue
			}
			pid = started
		case <-child:
			ended, none := reap(pid)
			if deadline != nil && none {
				return
			}
			if ended && deadline == nil {
				restart = time.After(interval - time.Since(last)) // at once, if it had run for longer
			}
		case <-term:
			restart, deadline = nil, time.After(grace)
			if syscall.Kill(-1, syscall.SIGTERM) == syscall.ESRCH {
				return
			}
		case <-deadline:
			return
		}
	}
}

// start runs the command in a session of its own, its output appended to its log.
func start(command []string) (int, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o750); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	return syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true},
		Files: []uintptr{0, log.Fd(), log.Fd()},
	})
}

// reap collects all that have ended. It says whether pid was among them, and whether no child is left.
func reap(pid int) (ended, none bool) {
	for {
		got, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if got <= 0 {
			return ended, errors.Is(err, syscall.ECHILD)
		}
		ended = ended || got == pid
	}
}

// delegateCgroups moves this process into a group of its own, because cgroup v2 hands controllers down only from
// a group without processes. On cgroup v1 there is nothing to do.
func delegateCgroups(root string) error {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(root, "init"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "init", "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	var enable []string
	for _, c := range strings.Fields(string(controllers)) {
		enable = append(enable, "+"+c)
	}
	return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(strings.Join(enable, " ")), 0)
}
