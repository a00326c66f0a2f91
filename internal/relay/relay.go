// Package relay hands connections on: what a program dials here is dialled elsewhere.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Dial opens the other side of a connection.
type Dial func(context.Context) (net.Conn, error)

// Serve takes connections on a port of this host's own loopback that nobody else has, and hands each on, until stop is called, which
// ends them all. Whoever is on this host may come; what is on the other side has to ask who it is.
func Serve(ctx context.Context, dial Dial) (address string, stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen on this host: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed by stop
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				there, err := dial(ctx)
				if err != nil {
					return // whoever came sees that the connection ends
				}
				_ = Both(ctx, conn, there)
			})
		}
	})
	return l.Addr().String(), func() {
		cancel()
		_ = l.Close() // nothing is lost with it
		all.Wait()
	}, nil
}

// Both copies each way until both sides have said all, and closes them. When one side is done the other hears that, and may still answer.
func Both(ctx context.Context, a, b net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _, _ = a.Close(), b.Close() })
	defer stop()
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { errs[0] = half(a, b) })
	both.Go(func() { errs[1] = half(b, a) })
	both.Wait()
	return errors.Join(errs[0], errs[1], a.Close(), b.Close())
}

func half(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	if c, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		return c.CloseWrite()
	}
	_ = to.Close() // it knows no other end
	return err
}
