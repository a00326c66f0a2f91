package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/provider"
)

// execGrace is how long a command may go on after its context has ended, or hold its output open after its own end.
const execGrace = 2 * time.Second

// Exec implements provider.Provider. The command runs in all namespaces of the machine and counts as part of it.
func (p *Provider) Exec(ctx context.Context, name string, e provider.Exec) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(e.Args) == 0 {
		return fmt.Errorf("machine %s: no command to run", name)
	}
	if _, running := p.running(name); !running {
		return fmt.Errorf("machine %s is %s: power it on with `ashlar up`", name, p.state(name))
	}
	spec, err := p.execSpec(e)
	if err != nil {
		return fmt.Errorf("machine %s: prepare %s: %w", name, e.Args[0], err)
	}
	defer func() { _ = spec.Close() }()
	cmd := exec.CommandContext(ctx, p.runc(), "--root", p.runcRoot(), "exec", "--process", "/proc/self/fd/3", name)
	cmd.ExtraFiles = []*os.File{spec}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	if e.TTY {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // runc hands it on
	cmd.WaitDelay = execGrace
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("machine %s: %s: %w", name, e.Args[0], err)
	}
	return nil
}

// execSpec is a file in memory: arguments and environment may be secret.
func (p *Provider) execSpec(e provider.Exec) (*os.File, error) {
	h, err := thisHost()
	if err != nil {
		return nil, err
	}
	process := p.process(h, e.Args, e.Env)
	if e.TTY {
		process.Terminal = true
		process.Env = append(process.Env, "TERM="+os.Getenv("TERM"))
	}
	content, err := json.Marshal(process)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("process.json", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "process.json")
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
