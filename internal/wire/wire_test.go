package wire

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestWitness has a witness knock at itself: all three counts are seen.
func TestWitness(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const port = 39000
	self := netip.MustParseAddr("127.0.0.1")
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Witness(ctx, port, []netip.Addr{self}, time.Millisecond, in)
		_ = in.Close()
	}()
	lines := json.NewDecoder(out)
	for {
		var said Testimony
		if err := lines.Decode(&said); err != nil {
			t.Fatalf("the witness said nothing more before it was heard: %v", err)
		}
		if p := said.Peers[self]; p.Sent > 10 && p.Heard > 10 && p.Answered > 10 {
			break
		}
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRefused knocks where nobody listens: the kernel's refusals are answers.
func TestRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answers := make(chan struct{}, 1)
	go func() {
		_ = Knock(ctx, netip.MustParseAddrPort("127.0.0.1:39001"), time.Millisecond, func() {}, func() {
			select {
			case answers <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case <-answers:
	case <-ctx.Done():
		t.Error("no answer")
	}
}

func TestCounters(t *testing.T) {
	in, out, err := counters(strings.NewReader("Ip: Forwarding DefaultTTL InReceives InHdrErrors OutRequests\nIp: 2 64 12 0 34\nIcmp: InMsgs\nIcmp: 0\n"))
	if in != 12 || out != 34 || err != nil {
		t.Errorf("in %d, out %d: %v", in, out, err)
	}
	if _, _, err := counters(strings.NewReader("Tcp: InSegs\nTcp: 1\n")); err == nil {
		t.Error("counters of nothing")
	}
}
