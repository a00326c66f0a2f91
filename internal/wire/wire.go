// Package wire is what probes do on a network: knock, listen, and count what passes.
package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// answerWithin is how long one connection may take to be answered. A SYN is not sent again before that.
const answerWithin = 100 * time.Millisecond

// Serve answers datagrams with themselves, and accepts connections and closes them, on all addresses of this host, until
// the context ends. It tells from whom each came.
func Serve(ctx context.Context, port uint16, came func(netip.Addr)) error {
	address := fmt.Sprintf(":%d", port)
	datagrams, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", address)
	if err != nil {
		return err
	}
	connections, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
	if err != nil {
		_ = datagrams.Close()
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = datagrams.Close(); _ = connections.Close() })()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		buffer := make([]byte, 64)
		for ctx.Err() == nil {
			n, from, err := datagrams.ReadFrom(buffer)
			if err != nil {
				continue // an earlier answer's error, or the end
			}
			came(addressOf(from))
			_, _ = datagrams.WriteTo(buffer[:n], from)
		}
		return nil
	})
	g.Go(func() error {
		for {
			conn, err := connections.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			came(addressOf(conn.RemoteAddr()))
			conn.Close()
		}
	})
	return g.Wait()
}

// Knock sends datagrams to an address, one each time so much has passed, and meanwhile tries one connection after the
// other, until the context ends. It tells of each answer: to be refused is one, silence is none.
func Knock(ctx context.Context, to netip.AddrPort, every time.Duration, sent, answered func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return knockUDP(ctx, to, every, sent, answered) })
	g.Go(func() error {
		for ctx.Err() == nil {
			began := time.Now()
			sent()
			conn, err := (&net.Dialer{Timeout: answerWithin}).DialContext(ctx, "tcp4", to.String())
			if err == nil {
				conn.Close()
			}
			if err == nil || refused(err) {
				answered()
			}
			pause(ctx, answerWithin-time.Since(began))
		}
		return nil
	})
	return g.Wait()
}

func knockUDP(ctx context.Context, to netip.AddrPort, every time.Duration, sent, answered func()) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	go func() {
		buffer := make([]byte, 64)
		for ctx.Err() == nil {
			if _, err := conn.Read(buffer); err == nil || refused(err) {
				answered()
			}
		}
	}()
	for ctx.Err() == nil {
		_, err := io.WriteString(conn, "knock")
		sent()
		if refused(err) { // so was an earlier one
			answered()
		}
		pause(ctx, every)
	}
	return nil
}

// refused is what the other side's kernel says where nobody listens.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func addressOf(a net.Addr) netip.Addr {
	p, _ := netip.ParseAddrPort(a.String()) // the kernel's own words
	return p.Addr().Unmap()
}

// counters reads how many IP packets entered and left a network namespace since it was made, from its /proc/net/snmp.
func counters(snmp io.Reader) (in, out uint64, err error) {
	lines := bufio.NewScanner(snmp)
	var names []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, value := range fields {
			if i >= len(names) {
				break
			}
			switch names[i] {
			case "InReceives":
				in, err = strconv.ParseUint(value, 10, 64)
			case "OutRequests":
				out, err = strconv.ParseUint(value, 10, 64)
			}
			if err != nil {
				return 0, 0, fmt.Errorf("read the kernel's counters: %w", err)
			}
		}
		return in, out, nil
	}
	return 0, 0, errors.Join(errors.New("read the kernel's counters: there is no line of IP's"), lines.Err())
}
