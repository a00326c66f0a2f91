// Package scan finds out which TCP ports answer, as fast as packets can be sent: it asks each for a connection, and never
// completes one. What answers is reached, be it by a refusal.
package scan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a place to scan from.
type Socket struct {
	fd     int
	source netip.Addr
}

// Open opens a socket for an IPv4 address of the network namespace of the calling thread. It needs CAP_NET_RAW there.
func Open(source netip.Addr) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket to scan from %s: %w", source, err)
	}
	s := &Socket{fd, source}
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, fmt.Errorf("prepare to scan from %s: %w", source, err)
	}
	return s, nil
}

// answersKept is how many bytes of answers wait for being read: one for each port of an address that is wide open.
const answersKept = 64 << 20

func (s *Socket) prepare() error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, answersKept); err != nil {
		return err
	}
	patience := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return err
	}
	return unix.Bind(s.fd, &unix.SockaddrInet4{Addr: s.source.As4()})
}

// Close closes the socket.
func (s *Socket) Close() { _ = unix.Close(s.fd) }

// Answer is what a port said.
type Answer struct {
	netip.AddrPort
	// Open: somebody listens. Otherwise the connection was refused, by whoever has the address.
	Open bool
}

// silence is how long after the last question an answer may come.
const silence = 300 * time.Millisecond

// TCP asks all ports of each address, and returns those that answered, in order.
func (s *Socket) TCP(ctx context.Context, addresses []netip.Addr, ports []uint16) ([]Answer, error) {
	sequence := rand.Uint32()
	from := uint16(32768 + rand.UintN(28000))
	asked := make(chan error, 1)
	go func() { asked <- s.ask(ctx, addresses, ports, from, sequence) }()
	found := map[netip.AddrPort]bool{}
	var done time.Time
	for done.IsZero() || time.Since(done) < silence {
		select {
		case err := <-asked:
			if err != nil {
				return nil, err
			}
			done = time.Now()
		default:
		}
		a, ok, err := s.answer(from, sequence)
		if err != nil {
			return nil, err
		}
		if ok && slices.Contains(addresses, a.Addr()) {
			found[a.AddrPort] = found[a.AddrPort] || a.Open
		}
	}
	out := make([]Answer, 0, len(found))
	for at, open := range found {
		out = append(out, Answer{at, open})
	}
	slices.SortFunc(out, func(a, b Answer) int { return a.Compare(b.AddrPort) })
	return out, nil
}

func (s *Socket) ask(ctx context.Context, addresses []netip.Addr, ports []uint16, from uint16, sequence uint32) error {
	for _, to := range addresses {
		at := &unix.SockaddrInet4{Addr: to.As4()}
		for _, port := range ports {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			packet := question(s.source, netip.AddrPortFrom(to, port), from, sequence)
			err := unix.Sendto(s.fd, packet, 0, at)
			for errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) {
				err = unix.Sendto(s.fd, packet, 0, at)
			}
			if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
				return fmt.Errorf("ask %s for a connection: %w", netip.AddrPortFrom(to, port), err)
			}
		}
	}
	return nil
}

// answer reads one packet; false if it is none of ours, or none came for a while.
func (s *Socket) answer(from uint16, sequence uint32) (Answer, bool, error) {
	b := make([]byte, 128)
	n, _, err := unix.Recvfrom(s.fd, b, 0)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return Answer{}, false, nil
	case err != nil:
		return Answer{}, false, os.NewSyscallError("read answers to a scan", err)
	}
	a, ok := read(b[:n], from, sequence)
	return a, ok, nil
}

// The flags of TCP that matter here.
const (
	syn = 1 << 1
	rst = 1 << 2
	ack = 1 << 4
)

// question is the first segment of a connection.
func question(source netip.Addr, to netip.AddrPort, from uint16, sequence uint32) []byte {
	const length = 20
	b := make([]byte, length)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], sequence)
	b[12], b[13] = length/4<<4, syn
	binary.BigEndian.PutUint16(b[14:], 1<<16-1) // window
	binary.BigEndian.PutUint16(b[16:], checksum(source, to.Addr(), b))
	return b
}

// checksum is that of RFC 9293, over the segment and a header of addresses.
func checksum(source, destination netip.Addr, segment []byte) uint16 {
	s, d := source.As4(), destination.As4()
	all := slices.Concat(s[:], d[:], []byte{0, unix.IPPROTO_TCP, byte(len(segment) >> 8), byte(len(segment))}, segment)
	var sum uint32
	for i := 0; i+1 < len(all); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// read takes an answer out of a packet with its IP header.
func read(b []byte, from uint16, sequence uint32) (Answer, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return Answer{}, false
	}
	source := netip.AddrFrom4([4]byte(b[12:16]))
	header := int(b[0]&15) * 4
	if len(b) < header+20 {
		return Answer{}, false
	}
	t := b[header:]
	port, to, acknowledged, flags := binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:]), binary.BigEndian.Uint32(t[8:]), t[13]
	if to != from || flags&ack == 0 || acknowledged != sequence+1 || flags&(syn|rst) == 0 {
		return Answer{}, false
	}
	return Answer{netip.AddrPortFrom(source, port), flags&syn != 0}, true
}
