package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/provider"
)

const namespaceDir = "/run/netns" // where iproute2 looks for them, too

func namespacePath(name string) string { return filepath.Join(namespaceDir, name) }

// namespaceExists says whether there is a namespace, and not just the file that a crash left before one was put on it.
func namespaceExists(name string) bool {
	var s unix.Statfs_t
	return unix.Statfs(namespacePath(name), &s) == nil && s.Type == unix.NSFS_MAGIC
}

// keepNamespace gives a network namespace, as a file of /proc, a name.
func keepNamespace(source, name string) error {
	if err := removeNamespace(name); err != nil {
		return err
	}
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(namespacePath(name), nil, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(source, namespacePath(name), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep network namespace %s: %w", name, err)
	}
	return nil
}

// createNamespace makes a new network namespace with that name.
func createNamespace(name string) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace %s: %w", name, err)
		}
		return keepNamespace(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), name)
	})
}

// removeNamespace forgets the name; the namespace goes with the last process in it.
func removeNamespace(name string) error {
	path := namespacePath(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// onThread runs f on a thread of its own that ends with it, so that whatever f does to the thread stays there.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime throws the thread away
		done <- f()
	}()
	return <-done
}

// inScratch runs f on a thread with new namespaces that end with it.
func inScratch(namespaces int, f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(namespaces); err != nil {
			return fmt.Errorf("make a scratch namespace: %w", err)
		}
		return f()
	})
}

// inNamespace runs f on a thread in the network namespace. Sockets that f opens and commands that it starts are
// in it; goroutines that it starts are not.
func inNamespace(name string, f func() error) error {
	return onThread(func() error {
		ns, err := os.Open(namespacePath(name))
		if err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		_ = ns.Close()
		if err != nil {
			return fmt.Errorf("enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// vantageNamespace names the network namespace of a vantage.
func (p *Provider) vantageNamespace(vantage string) (string, error) {
	name := p.machineNamespace(vantage)
	switch vantage {
	case provider.FromOperator:
		name = p.fabricNamespace()
	case provider.FromInternet, provider.FromTrusted:
		name = p.internetNamespace()
	default:
		if err := checkName(vantage); err != nil {
			return "", err
		}
	}
	if !namespaceExists(name) {
		return "", fmt.Errorf("%s has no network: it is not running; power it on with `ashlar up`", vantage)
	}
	return name, nil
}

// RunIn runs f on a thread in the network namespace of a vantage, for commands such as kubectl to be started there.
// Goroutines that f starts are not in it.
func (p *Provider) RunIn(vantage string, f func() error) error {
	name, err := p.vantageNamespace(vantage)
	if err != nil {
		return err
	}
	return inNamespace(name, f)
}

// Dial implements provider.Provider. The address is an IP address and a port: there is no DNS between machines.
func (p *Provider) Dial(ctx context.Context, vantage, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial from %s: %q is no IP address and port", vantage, address)
	}
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return nil, fmt.Errorf("dial from %s: network %q is neither tcp nor udp", vantage, network)
	}
	var d net.Dialer
	if vantage == provider.FromTrusted {
		if d.LocalAddr, err = p.fromTrusted(network); err != nil {
			return nil, err
		}
	}
	var conn net.Conn
	err = p.RunIn(vantage, func() error {
		// With a single literal address the dialer makes its socket in this very goroutine.
		conn, err = d.DialContext(ctx, network, to.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("from %s: %w", vantage, err)
	}
	return conn, nil
}
