package hog

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// streaming is what a `probe sink` is told that a connection is for.
const streaming = 's'

// Sent is what a network hog got rid of.
type Sent struct {
	BitsPerSecond float64 `json:"bitsPerSecond"`
	// Datagrams counts those by the second that the kernel took.
	Datagrams float64 `json:"datagramsPerSecond"`
}

// Network sends streams, and as many small datagrams as it can, all at once, to what is at the address, for so long.
func Network(ctx context.Context, to netip.AddrPort, streams, floods int, lasting time.Duration) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	var bytes, datagrams atomic.Uint64
	g := errgroup.Group{}
	began := time.Now()
	for range streams {
		g.Go(func() error { return stream(ctx, to, &bytes) })
	}
	for range floods {
		g.Go(func() error { return flood(ctx, to, &bytes, &datagrams) })
	}
	err := g.Wait()
	seconds := time.Since(began).Seconds()
	return Sent{BitsPerSecond: float64(8*bytes.Load()) / seconds, Datagrams: float64(datagrams.Load()) / seconds}, err
}

func stream(ctx context.Context, to netip.AddrPort, sent *atomic.Uint64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	b := make([]byte, 128<<10)
	b[0] = streaming
	for {
		n, err := conn.Write(b)
		sent.Add(uint64(n))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func flood(ctx context.Context, to netip.AddrPort, sent, datagrams *atomic.Uint64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, 64)
	for ctx.Err() == nil {
		// That nobody listens comes back as an error, now and then; it does not stop a hog.
		if n, err := conn.Write(b); err == nil {
			sent.Add(uint64(n))
			datagrams.Add(1)
		}
	}
	return nil
}
