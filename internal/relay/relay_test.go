package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echo says back what it hears, in capitals, once it has heard all.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b, _ := io.ReadAll(c)
				_, _ = io.WriteString(c, strings.ToUpper(string(b)))
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	to := echo(t)
	address, stop, err := Serve(ctx, func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", to) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "HELLO" {
		t.Errorf("through the relay comes %q, %v", b, err)
	}
	open, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	stop() // returns, though one is still open
	if _, err := io.ReadAll(open); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was open: %v", err)
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestServeWhatIsRefused(t *testing.T) {
	address, stop, err := Serve(t.Context(), func(context.Context) (net.Conn, error) { return nil, errors.New("no") })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("of what cannot be reached comes %q, %v", b, err)
	}
}

// through runs a Pipe as another program would be run.
func through(ctx context.Context, address string) (net.Conn, error) {
	in, write := io.Pipe()
	read, out := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		err := Pipe(ctx, address, in, out)
		_ = out.CloseWithError(err)
	}()
	return Through(write, read, cancel)
}

func TestThrough(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.CopyN(c, c, 5)
		_ = c.Close()
	}()
	c, err := through(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("through the pipe comes %q, %v", b, err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	if _, err := through(ctx, closed); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port that is closed: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() { _, _ = silent.Accept() }()
	if c, err = through(ctx, silent.Addr().String()); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline: %v", err)
	}
	_ = c.Close()
	short, stop := context.WithTimeout(ctx, time.Nanosecond)
	defer stop()
	if _, err := through(short, silent.Addr().String()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no time at all: %v", err)
	}
}
