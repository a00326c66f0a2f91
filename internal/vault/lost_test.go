package vault

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// lossy is a connection that ends instead of bringing the next answer.
type lossy struct {
	net.Conn
	lose *atomic.Bool
}

func (l lossy) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if l.lose.CompareAndSwap(true, false) {
		_ = l.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// TestTokenEndsThoughTheAnswerIsLost: a server that ends before it answers leaves no token behind, be it a root token's work or not.
func TestTokenEndsThoughTheAnswerIsLost(t *testing.T) {
	c := startCluster(t)
	var lose atomic.Bool
	client, err := New(Options{Cluster: "demo", Addresses: []string{"vault-0:8200"}, Pins: [][32]byte{c.pin},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fromOperator)}}).DialContext(ctx, network, c.address)
			return lossy{conn, &lose}, err
		}})
	c.must(err)
	defer client.Close()
	var work *Client
	c.must(client.WithRoot(c.ctx, c.keys, func(root *Client) error {
		work = root
		lose.Store(true)
		return nil
	}))
	if lose.Load() {
		t.Error("no answer was lost")
	}
	if err := work.get(c.ctx, "auth/token/lookup-self", &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("the root token lives: %v", err)
	}
}
