package wire

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Change is the first attempt to connect that ended otherwise than those before it.
type Change struct {
	To   netip.AddrPort `json:"to"`
	Open bool           `json:"open"`
	At   time.Time      `json:"at"` // when the attempt began
}

// silence is how long a connection that is let through may take. The kernel repeats a SYN after a second, so an attempt is
// one SYN.
const silence = 900 * time.Millisecond

// Watch tries a new connection to each address, each time so much has passed, and writes each change as a line.
func Watch(ctx context.Context, to []netip.AddrPort, every time.Duration, out io.Writer) error {
	var mu sync.Mutex
	lines := json.NewEncoder(out)
	say := func(c Change) error {
		mu.Lock()
		defer mu.Unlock()
		return lines.Encode(c)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, address := range to {
		g.Go(func() error { return watch(ctx, address, every, say) })
	}
	return g.Wait()
}

// attempt is one connection, and how it ended once that is known.
type attempt struct {
	began time.Time
	open  chan bool
}

func watch(ctx context.Context, to netip.AddrPort, every time.Duration, say func(Change) error) error {
	attempts := make(chan attempt, 10*silence/every) // those under way, and some
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(attempts)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			a := attempt{time.Now(), make(chan bool, 1)}
			go func() { a.open <- opens(ctx, to) }()
			attempts <- a
		}
	})
	g.Go(func() error {
		var was, known bool
		for a := range attempts {
			// In the order in which they began: what is refused is known only much later.
			open := <-a.open
			if ctx.Err() == nil && (!known || open != was) {
				if err := say(Change{to, open, a.began}); err != nil {
					return err
				}
			}
			was, known = open, true
		}
		return nil
	})
	return g.Wait()
}

// opens connects and leaves nothing behind: no port waits for stragglers.
func opens(ctx context.Context, to netip.AddrPort) bool {
	conn, err := (&net.Dialer{Timeout: silence}).DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return false
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	return true
}
