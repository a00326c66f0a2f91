// Package statussocket has a unit of a machine tell whoever connects to its socket how things are. That it answers is also how
// the agent knows that the unit is ready.
package statussocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// tellTimeout is how long telling may take; askTimeout is for both ways.
	tellTimeout = time.Second
	askTimeout  = 5 * time.Second
)

// Serve tells each who connects what status returns, as JSON, until ctx ends or status fails.
func Serve[T any](ctx context.Context, socket string, status func() (T, error)) error {
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
	defer func() { _ = l.Close() }()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tell(conn, status); err != nil {
			return err
		}
	}
}

// tell does not mind whether anyone reads: the agent only connects.
func tell[T any](conn net.Conn, status func() (T, error)) error {
	defer func() { _ = conn.Close() }()
	now, err := status()
	if err != nil {
		return err
	}
	if conn.SetDeadline(time.Now().Add(tellTimeout)) == nil {
		_ = json.NewEncoder(conn).Encode(now)
	}
	return nil
}

// Ask writes what is told at a socket.
func Ask(ctx context.Context, socket string, to io.Writer) error {
	conn, err := (&net.Dialer{Timeout: askTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	_, err = io.Copy(to, conn)
	return err
}
