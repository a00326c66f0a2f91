package wire

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Start is what passed between a pod and the network since the network was made for it, before its first process even:
// IP packets as the pod's own kernel counts them, whatever they were.
type Start struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// First is a pod whose first action is to talk: it knocks at all witnesses at once, answers whoever knocks, and after a
// while says what passed.
func First(ctx context.Context, port uint16, witnesses []netip.Addr, every, lasting time.Duration) (Start, error) {
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	nothing := func() {}
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range witnesses {
		g.Go(func() error { return Knock(ctx, netip.AddrPortFrom(w, port), every, nothing, nothing) })
	}
	g.Go(func() error { return Serve(ctx, port, func(netip.Addr) {}) })
	if err := g.Wait(); err != nil {
		return Start{}, err
	}
	snmp, err := os.Open("/proc/net/snmp")
	if err != nil {
		return Start{}, err
	}
	defer snmp.Close()
	var s Start
	s.Received, s.Sent, err = counters(snmp)
	return s, err
}

// Peer is what a witness has exchanged with one address.
type Peer struct {
	Sent     int `json:"sent,omitempty"`     // datagrams and connections that it was sent
	Heard    int `json:"heard,omitempty"`    // datagrams and connections that came from it
	Answered int `json:"answered,omitempty"` // answers that came from it; to be refused is one
}

// Testimony is what a witness says, again and again.
type Testimony struct {
	Number int                 `json:"number"`
	Peers  map[netip.Addr]Peer `json:"peers"`
}

// testify is how often a witness says what it knows.
const testify = 250 * time.Millisecond

// Witness knocks at all targets, whether they exist yet or not, answers whoever knocks, and writes a testimony a line
// until the context ends.
func Witness(ctx context.Context, port uint16, targets []netip.Addr, every time.Duration, out io.Writer) error {
	var mu sync.Mutex
	peers := map[netip.Addr]Peer{}
	count := func(a netip.Addr, f func(*Peer)) {
		mu.Lock()
		defer mu.Unlock()
		p := peers[a]
		f(&p)
		peers[a] = p
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range targets {
		g.Go(func() error {
			return Knock(ctx, netip.AddrPortFrom(t, port), every,
				func() { count(t, func(p *Peer) { p.Sent++ }) }, func() { count(t, func(p *Peer) { p.Answered++ }) })
		})
	}
	g.Go(func() error {
		return Serve(ctx, port, func(from netip.Addr) { count(from, func(p *Peer) { p.Heard++ }) })
	})
	g.Go(func() error {
		lines := json.NewEncoder(out)
		for n := 0; ctx.Err() == nil; n++ {
			mu.Lock()
			err := lines.Encode(Testimony{n, peers})
			mu.Unlock()
			if err != nil {
				return err
			}
			pause(ctx, testify)
		}
		return nil
	})
	return g.Wait()
}
