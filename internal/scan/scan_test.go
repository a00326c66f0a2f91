package scan

import (
	"context"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inScratch runs f on a thread with a network namespace of its own, of which only the loopback is up.
func inScratch(t *testing.T, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make namespaces: run the tests with sudo")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes, and the namespace with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestTCP: of all ports of an address none is missed, and who listens is told from who refuses.
func TestTCP(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	var s *Socket
	var l net.Listener
	inScratch(t, func() (err error) {
		if s, err = Open(local); err != nil {
			return err
		}
		l, err = net.Listen("tcp4", "127.0.0.1:4444")
		return err
	})
	defer s.Close()
	defer l.Close()
	var ports []uint16
	for p := 1; p <= math.MaxUint16; p++ {
		ports = append(ports, uint16(p))
	}
	began := time.Now()
	answers, err := s.TCP(t.Context(), []netip.Addr{local}, ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d ports in %s", len(ports), time.Since(began))
	if len(answers) < len(ports)-1 { // the one that asks may answer itself
		t.Errorf("only %d of %d ports answered", len(answers), len(ports))
	}
	for _, a := range answers {
		if a.Open != (a.Port() == 4444) {
			t.Errorf("%s: open is %v", a, a.Open)
		}
	}
}

// TestSilence: an address that nobody has says nothing, and a scan ends when it is told to.
func TestSilence(t *testing.T) {
	var s *Socket
	inScratch(t, func() (err error) {
		s, err = Open(netip.MustParseAddr("127.0.0.1"))
		return err
	})
	defer s.Close()
	nobody := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if answers, err := s.TCP(t.Context(), nobody, []uint16{22, 80}); err != nil || len(answers) > 0 {
		t.Errorf("%v answered: %v", answers, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.TCP(ctx, nobody, []uint16{22, 80}); err == nil {
		t.Error("a scan that was called off says that it is done")
	}
}
