package shortcut

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/statussocket"
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
	g.Go(func() error { return statussocket.Serve(ctx, socket, status) })
	err = g.Wait()
	if s != nil {
		err = errors.Join(err, s.Close())
	}
	return err
}
