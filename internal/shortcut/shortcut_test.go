package shortcut

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestShortcut sends real packets between real network namespaces, and asks the program and the rules which way they went.
func TestShortcut(t *testing.T) {
	b := newBed(t)
	b.echo("p2")
	b.echo("p4")
	for name, to := range map[string]string{"on one worker": "10.244.0.2:8000", "across": "10.244.1.4:8000"} {
		b.run("an established connection "+name, func(t *testing.T) {
			conn := b.dial("p1", "tcp4", to)
			b.exchange(conn, 1, 1)
			rules := b.rule(0, "established")
			n := b.counted(0, func() { b.exchange(conn, 64, 100) })
			if n["taken"] < 200 || b.rule(0, "established") > rules {
				t.Errorf("by the shortcut %v, by the rules %d", n, b.rule(0, "established")-rules)
			}
		})
		b.run("what begins and ends it "+name, func(t *testing.T) {
			n := b.counted(0, func() {
				conn := b.dial("p1", "tcp4", to)
				b.exchange(conn, 1<<20, 4) // far beyond the window that the connection table knows
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(conn); err != nil {
					t.Error("its end did not come:", err)
				}
			})
			if n["opening"] < 4 || n["taken"] < 8 || b.rule(0, "invalid") > 0 || b.rule(1, "invalid") > 0 {
				t.Errorf("%v, and %d and %d invalid", n, b.rule(0, "invalid"), b.rule(1, "invalid"))
			}
			b.in("w0", func() error { return notEstablished(to) })
		})
		b.run("UDP "+name, func(t *testing.T) {
			conn := b.dial("p1", "udp4", to)
			limit := time.Now().Add(20 * time.Second) // the connection table takes two seconds to believe in one
			for taken := uint64(0); taken == 0; {
				taken = b.counted(0, func() { b.exchange(conn, 64, 10) })["taken"]
				if time.Now().After(limit) {
					t.Fatal("never by the shortcut")
				}
			}
			// The first fragment too has to go the ordinary way. Reassembled, there is one packet for the rules.
			n := b.counted(0, func() { b.exchange(conn, 4000, 1) })
			if n["fragment"] < 3 || n["taken"] > 0 {
				t.Errorf("of fragments: %v", n)
			}
		})
	}
	b.run("VXLAN's own packets are not tracked", func(t *testing.T) {
		if out := b.shell("ip netns exec $B-w0 conntrack -L -p udp --dport 4789 2>/dev/null"); out != "" {
			t.Error(out)
		}
	})
	b.run("a Service", func(t *testing.T) {
		conn := b.dial("p1", "tcp4", "10.96.0.1:8000")
		n := b.counted(0, func() { b.exchange(conn, 64, 10) })
		if n["taken"] > 0 || n["translated"] < 10 || n["no-pod"] < 10 {
			t.Errorf("%v", n)
		}
	})
	b.run("a foreign source", func(t *testing.T) {
		conn := b.dial("p3", "tcp4", "10.244.0.2:8000")
		b.exchange(conn, 1, 1)
		if n := b.counted(0, func() { b.in("p1", func() error { return forge(conn) }) }); n["foreign"] != 1 || n["taken"] > 0 {
			t.Errorf("%v", n)
		}
		if n := b.counted(0, func() { b.in("p3", func() error { return forge(conn) }) }); n["foreign"] != 0 || n["taken"] == 0 {
			t.Errorf("the same packet by its own pod: %v", n)
		}
		// By the VXLAN, as if this worker's pod were another's. Nothing but this program looks at sources in the bed.
		b.shell("ip netns exec $B-w1 sysctl -q -w net.netfilter.nf_conntrack_checksum=0") // the forged one has none
		n := b.counted(0, func() {
			foreign := b.count(0, Foreign)
			b.in("p4", func() error { return forge(conn) })
			for limit := time.Now().Add(5 * time.Second); b.count(0, Foreign) == foreign && time.Now().Before(limit); {
			}
		})
		if n["foreign"] != 1 || n["taken"] > 0 {
			t.Errorf("by the VXLAN: %v", n)
		}
	})
	b.run("a refreshed connection", func(t *testing.T) {
		conn := b.dial("p1", "tcp4", "10.244.0.2:8000")
		b.exchange(conn, 1, 1)
		b.in("w0", func() error { // as when the packets have gone by the shortcut for long
			c, err := tracked(port(conn))
			if err != nil {
				return err
			}
			c.TimeOut = 20
			return netlink.ConntrackUpdate(netlink.ConntrackTable, unix.AF_INET, c)
		})
		if n := b.counted(0, func() { b.exchange(conn, 64, 1) }); n["taken"] < 2 {
			t.Errorf("%v", n)
		}
		b.in("w0", func() error {
			c, err := tracked(port(conn))
			if err == nil && c.TimeOut < 300 {
				t.Errorf("the kernel forgets it in %d s", c.TimeOut)
			}
			return err
		})
	})
	b.run("a forgotten connection", func(t *testing.T) {
		conn := b.dial("p1", "tcp4", "10.244.0.2:8000")
		b.exchange(conn, 1, 1)
		b.shell(`ip netns exec $B-w0 nft insert rule ip felix forward ct state new drop`)
		b.exchange(conn, 64, 10) // established is established
		b.in("w0", func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
		n := b.counted(0, func() {
			if err := exchange(conn, 64, 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it goes on:", err)
			}
		})
		if n["taken"] > 0 || n["unknown"] == 0 {
			t.Errorf("%v", n)
		}
		b.shell(`h=$(ip netns exec $B-w0 nft -a list chain ip felix forward | sed -n 's/.*ct state new drop # handle //p')
			ip netns exec $B-w0 nft delete rule ip felix forward handle $h`)
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 64)); err != nil { // it is picked up again, and leaves nothing to the next
			t.Error(err)
		}
	})
	b.run("a reset", func(t *testing.T) {
		conn := b.dial("p1", "tcp4", "10.244.0.2:8000").(*net.TCPConn)
		b.exchange(conn, 1<<20, 4)
		invalid := b.rule(0, "invalid")
		if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
			t.Fatal(err)
		}
		b.in("w0", func() error {
			for limit := time.Now().Add(5 * time.Second); ; {
				c, err := tracked(port(conn))
				if errors.Is(err, errUntracked) || err == nil && c.TimeOut <= 10 {
					return nil
				}
				if time.Now().After(limit) {
					return errors.Join(errors.New("the kernel takes it for established"), err)
				}
			}
		})
		if n := b.rule(0, "invalid") - invalid; n > 0 {
			t.Errorf("%d invalid packets", n)
		}
	})
	b.run("without the program", func(t *testing.T) {
		conn := b.dial("p1", "tcp4", "10.244.1.4:8000")
		invalid := [2]int{b.rule(0, "invalid"), b.rule(1, "invalid")}
		ended := make(chan error, 1)
		go func() {
			for range 2000 {
				if err := exchange(conn, 1<<16, 5*time.Second); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		for taken := b.count(0, Taken); b.count(0, Taken) == taken && len(ended) == 0; { // until it is under way
		}
		for _, w := range b.workers {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error("interrupted:", err)
		}
		if now := [2]int{b.rule(0, "invalid"), b.rule(1, "invalid")}; now != invalid {
			t.Errorf("packets are invalid now: %v, were %v", now, invalid)
		}
	})
}

func port(conn net.Conn) string {
	_, p, _ := net.SplitHostPort(conn.LocalAddr().String())
	return p
}

var errUntracked = errors.New("the kernel does not know the connection")

// tracked finds the connection from a port in the table of the thread's network namespace.
func tracked(port string) (*netlink.ConntrackFlow, error) {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		return nil, err
	}
	for _, f := range flows {
		if _, p, _ := strings.Cut(f.String(), "sport="+port+" "); p != "" {
			return f, nil
		}
	}
	return nil, errUntracked
}

// notEstablished waits until no connection there is as long-lived as an established one.
func notEstablished(to string) error {
	address, _, _ := net.SplitHostPort(to)
	for limit := time.Now().Add(5 * time.Second); ; {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		if err != nil {
			return err
		}
		long := 0
		for _, f := range flows {
			if f.Forward.DstIP.String() == address && f.TimeOut > 300 {
				long++
			}
		}
		if long <= 1 { // the subtest before keeps its own
			return nil
		}
		if time.Now().After(limit) {
			return errors.New("the kernel takes an ended connection for established")
		}
	}
}

// forge sends a TCP segment with the connection's addresses and ports from the thread's network namespace.
func forge(conn net.Conn) error {
	from, to := conn.LocalAddr().(*net.TCPAddr), conn.RemoteAddr().(*net.TCPAddr)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(s) }()
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(p[12:], from.IP.To4())
	copy(p[16:], to.IP.To4())
	binary.BigEndian.PutUint16(p[20:], uint16(from.Port))
	binary.BigEndian.PutUint16(p[22:], uint16(to.Port))
	p[32], p[33] = 5<<4, 0x10
	var address unix.SockaddrInet4
	copy(address.Addr[:], to.IP.To4())
	return unix.Sendto(s, p, 0, &address)
}
