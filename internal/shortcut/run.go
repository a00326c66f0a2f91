package shortcut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Status is what the shortcut says of itself.
type Status struct {
	// Unable is why this kernel cannot have it; then all packets go the ordinary way.
	Unable string `json:"unable,omitempty"`
	// Packets counts by the way they went, and why.
	Packets map[string]uint64 `json:"packets,omitempty"`
}

// Run keeps the shortcut until the context ends, and answers at a socket. On a kernel that cannot have it, it says so,
// and only keeps the VXLAN, which has that port, out of the connection table.
func Run(ctx context.Context, pods netip.Prefix, port int, socket string, log *slog.Logger) error {
	if err := untrack(ctx, port); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	s, err := Load()
	if err == nil {
		err = Set()
	}
	status := func() (Status, error) {
		n, err := s.Counts()
		return Status{Packets: n}, err
	}
	if err != nil {
		log.Warn("this kernel cannot have the shortcut; packets between pods go the ordinary way, which is slower", "because", err)
		unable := Status{Unable: err.Error()}
		status = func() (Status, error) { return unable, nil }
	} else {
		g.Go(func() error { return s.Keep(ctx, pods) })
	}
	g.Go(func() error { return serve(ctx, socket, status) })
	err = g.Wait()
	if s != nil {
		err = errors.Join(err, s.Close())
	}
	return err
}

func serve(ctx context.Context, socket string, status func() (Status, error)) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answer(conn, status); err != nil {
			return err
		}
	}
}

// answer does not mind whether anyone reads: the agent only connects.
func answer(conn net.Conn, status func() (Status, error)) error {
	defer func() { _ = conn.Close() }()
	now, err := status()
	if err != nil {
		return err
	}
	if conn.SetDeadline(time.Now().Add(time.Second)) == nil {
		_ = json.NewEncoder(conn).Encode(now)
	}
	return nil
}

// Ask writes what the shortcut that answers at the socket says.
func Ask(ctx context.Context, socket string, to io.Writer) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("the shortcut does not run here: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(to, conn)
	return err
}
