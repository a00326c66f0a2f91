package ceiling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/stub"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/unit"
)

// patience is how long containerd may be away between two attempts to reach it.
const patience = 200 * time.Millisecond

// Run holds all pods of the machine to their ceilings until the context ends, and answers at a socket.
func Run(ctx context.Context, file, socket string, log *slog.Logger) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the classes' ceilings: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	k := newKeeper(c, log)
	var connected atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.keep(ctx) })
	g.Go(func() error { return attend(ctx, k, &connected) })
	g.Go(func() error {
		return serve(ctx, socket, func() Status {
			s := k.status()
			s.Connected = connected.Load()
			return s
		})
	})
	return g.Wait()
}

// attend is containerd's plugin, as long as containerd runs, and again when it does. Ceilings stay meanwhile.
func attend(ctx context.Context, k *keeper, connected *atomic.Bool) error {
	for ctx.Err() == nil {
		err := once(ctx, k, connected)
		connected.Store(false)
		k.log.Info("containerd is away", "because", err)
		select {
		case <-ctx.Done():
		case <-time.After(patience):
		}
	}
	return nil
}

func once(ctx context.Context, k *keeper, connected *atomic.Bool) error {
	closed := make(chan struct{})
	closing := sync.OnceFunc(func() { close(closed) })
	s, err := stub.New(k, stub.WithPluginName(unit.CeilingsPlugin), stub.WithPluginIdx("90"), stub.WithSocketPath(unit.NRISocket),
		stub.WithLogger(logger{k.log}), stub.WithOnClose(closing))
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer s.Stop()
	connected.Store(true)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
		return errors.New("it closed the connection")
	}
}

// logger writes what the library says.
type logger struct{ to *slog.Logger }

func (l logger) Debugf(ctx context.Context, format string, args ...any) {
	l.to.DebugContext(ctx, fmt.Sprintf(format, args...))
}

func (l logger) Infof(ctx context.Context, format string, args ...any) {
	l.to.DebugContext(ctx, fmt.Sprintf(format, args...))
}

func (l logger) Warnf(ctx context.Context, format string, args ...any) {
	l.to.WarnContext(ctx, fmt.Sprintf(format, args...))
}

func (l logger) Errorf(ctx context.Context, format string, args ...any) {
	l.to.ErrorContext(ctx, fmt.Sprintf(format, args...))
}

// serve tells whoever connects how things are.
func serve(ctx context.Context, socket string, status func() Status) error {
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
		if conn.SetDeadline(time.Now().Add(time.Second)) == nil {
			_ = json.NewEncoder(conn).Encode(status()) // the agent only connects
		}
		_ = conn.Close()
	}
}

// Ask writes what the keeper that answers at the socket says.
func Ask(ctx context.Context, socket string, to io.Writer) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("nothing holds pods to their ceilings here: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(to, conn)
	return err
}
