package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// flight is an attempt on its way.
type flight struct {
	fd      int
	udp     bool // nothing need come back
	outcome *Outcome
	// sctp is the port of an attempt by SCTP, from its own; 0: it is none.
	sctp, from uint16
}

// launch begins an attempt in the network namespace of this thread.
func launch(a Attempt, o *Outcome) *flight {
	if a.Protocol == "SCTP" {
		return launchSCTP(a, o)
	}
	f := &flight{fd: -1, udp: a.Protocol == "UDP", outcome: o}
	kind := unix.SOCK_STREAM
	if f.udp {
		kind, o.Token = unix.SOCK_DGRAM, newToken()
	}
	o.State, o.Answer = Silent, "no answer"
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.land(fmt.Errorf("make a socket: %w", err))
		return f
	}
	f.fd = fd
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.To.Port()), Addr: a.To.Addr().As4()})
	if err == nil && f.udp {
		_, err = unix.Write(fd, question(o.Token))
	}
	if (err != nil || !f.udp) && !errors.Is(err, unix.EINPROGRESS) {
		f.land(err)
	}
	return f
}

// land ends a flight. The other end's own refusal (a reset, or that the port is closed) comes from there.
func (f *flight) land(err error) {
	switch {
	case err == nil && f.udp:
		f.outcome.State, f.outcome.Answer = Reached, "answered"
	case err == nil:
		f.outcome.State, f.outcome.Answer = Reached, "connected"
	case errors.Is(err, unix.ECONNREFUSED):
		f.outcome.State, f.outcome.Answer = Reached, "closed port"
	default:
		f.outcome.State, f.outcome.Answer = Refused, err.Error()
	}
	f.end()
}

func (f *flight) end() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
	}
}

// arrived says what the kernel knows of a flight whose socket has news.
func (f *flight) arrived() {
	if f.sctp != 0 {
		f.answeredSCTP()
		return
	}
	code, err := unix.GetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	f.land(err)
}

const lookEvery = 100 * time.Millisecond // at whether somebody called it off

// watch waits for all flights until the deadline; what has not landed then, stays silent.
func watch(ctx context.Context, flights []*flight, deadline time.Time) error {
	for {
		var waiting []unix.PollFd
		var whose []*flight
		for _, f := range flights {
			if f.fd < 0 {
				continue
			}
			events := int16(unix.POLLOUT)
			if f.udp {
				events = unix.POLLIN
			}
			waiting, whose = append(waiting, unix.PollFd{Fd: int32(f.fd), Events: events}), append(whose, f)
		}
		left := time.Until(deadline)
		if len(waiting) == 0 || left <= 0 || ctx.Err() != nil {
			for _, f := range whose {
				_ = unix.Close(f.fd)
				f.fd = -1
			}
			return ctx.Err()
		}
		_, err := unix.Poll(waiting, int(min(left, lookEvery).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for answers: %w", err)
		}
		for i, p := range waiting {
			if p.Revents != 0 && err == nil {
				whose[i].arrived()
			}
		}
	}
}
