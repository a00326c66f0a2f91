package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"ashlar.dev/ashlar/internal/provider"
)

// Start implements provider.Provider. It also connects the machine to the fabric; what may pass there is for
// EnsureNetwork to say, and before its first call nothing may.
func (p *Provider) Start(ctx context.Context, machine provider.Machine, files []provider.File) error {
	r, err := p.record(machine.Name)
	if err != nil {
		return fmt.Errorf("%w: reserve an address first", err)
	}
	held, err := lockFile(ctx, p.machineDir(r.Name))
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	if _, running := p.running(r.Name); running {
		return nil
	}
	if err := p.clear(ctx, r); err != nil { // what a crash, a power-off from inside or a reboot of the host left
		return err
	}
	if !exists(p.rootfs(r.Name)) {
		if err := p.makeRootfs(ctx, r.Name, files); err != nil {
			return err
		}
	}
	if err := p.connect(ctx, r); err != nil {
		return err
	}
	return p.boot(ctx, r.Name, held)
}

// boot lets runc make the container. It inherits the machine's lock: should this process be killed, the next one
// waits for runc to end before it clears away what runc is making.
func (p *Provider) boot(ctx context.Context, name string, held *os.File) error {
	h, err := thisHost()
	if err != nil {
		return err
	}
	config, err := json.Marshal(p.machineSpec(name, h))
	if err != nil {
		return err
	}
	dir := p.machineDir(name)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		return err
	}
	console, err := os.OpenFile(filepath.Join(dir, "console.log"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	if err := os.MkdirAll(p.runcRoot(), 0o700); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.runc(), "--root", p.runcRoot(), "run", "--detach", "--bundle", dir, name)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{held}
	// In a mount namespace whose mounts are all private, whatever the machine mounts never shows on the host.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setsid: true}
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(console.Name())
		return fmt.Errorf("machine %s: runc: %w: %s", name, err, bytes.TrimSpace(said))
	}
	return nil
}

// PowerOff implements provider.Provider.
func (p *Provider) PowerOff(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !exists(p.machineDir(name)) {
		return p.clear(ctx, record{Name: name})
	}
	unlock, err := lock(ctx, p.machineDir(name))
	if err != nil {
		return err
	}
	defer unlock()
	return p.clear(ctx, record{Name: name})
}

// clear removes all of a machine but its disk and its address.
func (p *Provider) clear(ctx context.Context, r record) error {
	if i, ok := p.created(r.Name); ok {
		if err := i.kill(ctx); err != nil {
			return fmt.Errorf("power off machine %s: %w", r.Name, err)
		}
	}
	if err := clearCgroup(p.cgroupPath(r.Name)); err != nil {
		return fmt.Errorf("power off machine %s: %w", r.Name, err)
	}
	if err := os.RemoveAll(filepath.Join(p.runcRoot(), r.Name)); err != nil {
		return fmt.Errorf("power off machine %s: %w", r.Name, err)
	}
	if err := p.disconnect(r.Name); err != nil {
		return fmt.Errorf("power off machine %s: %w", r.Name, err)
	}
	return nil
}

// Delete implements provider.Provider.
func (p *Provider) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := p.PowerOff(ctx, name); err != nil {
		return err
	}
	dir := p.machineDir(name)
	unlock, err := lock(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := p.created(name); ok {
		return fmt.Errorf("delete machine %s: somebody powered it on meanwhile", name)
	}
	// A disk that is half gone must not look like one.
	if err := os.Rename(p.rootfs(name), p.rootfs(name)+".unfinished"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete machine %s: %w", name, err)
	}
	if err := os.RemoveAll(p.rootfs(name) + ".unfinished"); err != nil {
		return fmt.Errorf("delete machine %s: %w", name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("delete machine %s: %w", name, err)
	}
	return nil
}
