package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Speed is what a network carries between two places.
type Speed struct {
	BitsPerSecond float64       `json:"bitsPerSecond"`
	RoundTrip     time.Duration `json:"roundTrip"` // the median of a small message there and back
	P99           time.Duration `json:"p99"`       // of all, 99 in 100 are back sooner
}

const (
	block   = 128 << 10 // of what one write sends
	message = 64        // bytes of a small message
	// streaming and bouncing are what a connection's first byte says that it is for.
	streaming, bouncing = 's', 'b'
)

// Sink takes what Measure sends, until the context ends.
func Sink(ctx context.Context, at netip.AddrPort) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", at.String())
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go take(conn)
	}
}

// take counts a stream and says at its end how much came, or sends messages back.
func take(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, block)
	if _, err := io.ReadFull(conn, buffer[:1]); err != nil {
		return
	}
	if buffer[0] == bouncing {
		for {
			if _, err := io.ReadFull(conn, buffer[:message]); err != nil {
				return
			}
			if _, err := conn.Write(buffer[:message]); err != nil {
				return
			}
		}
	}
	var came uint64
	for {
		n, err := conn.Read(buffer)
		came += uint64(n)
		if err != nil {
			break
		}
	}
	_ = binary.Write(conn, binary.BigEndian, came)
}

// Measure sends a stream to a sink, then small messages there and back, each for as long.
func Measure(ctx context.Context, to netip.AddrPort, lasting time.Duration) (Speed, error) {
	bits, err := stream(ctx, to, lasting)
	if err != nil {
		return Speed{}, fmt.Errorf("send a stream to %s: %w", to, err)
	}
	trip, p99, err := bounce(ctx, to, lasting)
	if err != nil {
		return Speed{}, fmt.Errorf("send messages to %s: %w", to, err)
	}
	return Speed{bits, trip, p99}, nil
}

func dialSink(ctx context.Context, to netip.AddrPort, purpose byte, limit time.Duration) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if err := errors.Join(tcp.SetDeadline(time.Now().Add(limit)), sendAll(tcp, []byte{purpose})); err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return tcp, nil
}

func sendAll(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// stream counts what arrived, not what was put into buffers.
func stream(ctx context.Context, to netip.AddrPort, lasting time.Duration) (float64, error) {
	conn, err := dialSink(ctx, to, streaming, lasting+10*time.Second)
	if err != nil {
		return 0, err
	}
	defer net.Conn(conn).Close()
	buffer := make([]byte, block)
	began := time.Now()
	for time.Since(began) < lasting {
		if err := sendAll(conn, buffer); err != nil {
			return 0, err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return 0, err
	}
	var came uint64
	if err := binary.Read(conn, binary.BigEndian, &came); err != nil {
		return 0, err
	}
	return float64(8*came) / time.Since(began).Seconds(), nil
}

func bounce(ctx context.Context, to netip.AddrPort, lasting time.Duration) (median, p99 time.Duration, err error) {
	conn, err := dialSink(ctx, to, bouncing, lasting+10*time.Second)
	if err != nil {
		return 0, 0, err
	}
	defer net.Conn(conn).Close()
	buffer := make([]byte, message)
	var trips []time.Duration
	for began := time.Now(); time.Since(began) < lasting; {
		sent := time.Now()
		if err := sendAll(conn, buffer); err != nil {
			return 0, 0, err
		}
		if _, err := io.ReadFull(conn, buffer); err != nil {
			return 0, 0, err
		}
		trips = append(trips, time.Since(sent))
	}
	slices.Sort(trips)
	return trips[len(trips)/2], trips[len(trips)*99/100], nil
}
