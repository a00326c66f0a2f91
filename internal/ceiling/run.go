package ceiling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/stub"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/statussocket"
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
		return statussocket.Serve(ctx, socket, func() (Status, error) {
			s := k.status()
			s.Connected = connected.Load()
			return s, nil
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
