package observe

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// ears hear what comes into pods' network namespaces, after the machine's rules, whether or not a program there listens.
type ears struct {
	sockets []int
	stop    chan struct{}
	all     sync.WaitGroup
	mu      sync.Mutex
	tokens  []string
}

// listen opens an ear in each pod's namespace.
func (s spaces) listen(pods []netip.Addr) (*ears, error) {
	e := &ears{stop: make(chan struct{})}
	for _, pod := range pods {
		err := s.inside(pod, func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(toNetwork(unix.ETH_P_IP)))
			if err != nil {
				return fmt.Errorf("listen at pod %s: %w", pod, err)
			}
			e.sockets = append(e.sockets, fd)
			// So that the end of it all is noticed.
			return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: lookEvery.Microseconds()})
		})
		if err != nil {
			e.close()
			return nil, err
		}
	}
	for _, fd := range e.sockets {
		e.all.Go(func() { e.hear(fd) })
	}
	return e, nil
}

// toNetwork gives a protocol's number as packet sockets want it: in network order.
func toNetwork(n uint16) uint16 { return n<<8 | n>>8 }

// lastPackets is how many are still looked at after the end: those that had come in by then.
const lastPackets = 10000

func (e *ears) hear(fd int) {
	packet := make([]byte, 2048)
	for left := lastPackets; left > 0; {
		n, _, err := unix.Recvfrom(fd, packet, 0)
		if err == nil {
			if token, ok := tokenIn(packet[:n]); ok {
				e.mu.Lock()
				e.tokens = append(e.tokens, token)
				e.mu.Unlock()
			}
		}
		quiet := errors.Is(err, unix.EAGAIN)
		select {
		case <-e.stop:
			if quiet {
				return
			}
			left--
		default:
		}
		if err != nil && !quiet && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func tokenIn(packet []byte) (string, bool) {
	i := bytes.Index(packet, []byte(mark))
	length := len(newToken())
	if i < 0 || i+length > len(packet) {
		return "", false
	}
	return string(packet[i : i+length]), true
}

// heard ends the listening, and returns what was heard.
func (e *ears) heard() []string {
	e.close()
	return append([]string{}, e.tokens...)
}

func (e *ears) close() {
	select {
	case <-e.stop:
		return
	default:
		close(e.stop)
	}
	e.all.Wait()
	for _, fd := range e.sockets {
		_ = unix.Close(fd)
	}
}
