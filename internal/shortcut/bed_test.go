package shortcut

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// allPods are the addresses of the bed's pods.
var allPods = netip.MustParsePrefix("10.244.0.0/16")

// The bed is two workers as felix leaves them, as far as packets can tell: three pods on the first, one on the second. Rules
// let established connections through, drop what is invalid, and let new ones reach port 8000. 10.96.0.1 is a Service, the
// second pod.
const bedScript = `set -e
for n in w0 w1 p1 p2 p3 p4; do
  ip netns add $B-$n
  ip -n $B-$n link set lo up
done
ip link add out netns $B-w0 address 02:00:00:00:01:00 type veth peer name out address 02:00:00:00:01:01 netns $B-w1
for w in 0 1; do
  ip netns exec $B-w$w sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
  ip -n $B-w$w address add 198.18.0.1$w/24 dev out
  ip -n $B-w$w link set out up
  ip -n $B-w$w link add vxlan.calico address 66:00:00:00:00:0$w type vxlan id 4096 local 198.18.0.1$w dstport 4789 nolearning
  ip -n $B-w$w link set vxlan.calico up mtu 1400
  o=$((1-w))
  ip -n $B-w$w neigh add 10.244.$o.0 lladdr 66:00:00:00:00:0$o dev vxlan.calico nud permanent
  bridge -n $B-w$w fdb add 66:00:00:00:00:0$o dev vxlan.calico dst 198.18.0.1$o
  ip -n $B-w$w route add 10.244.$o.0/26 via 10.244.$o.0 dev vxlan.calico onlink
  ip -n $B-w$w route add blackhole 10.244.$w.0/26
done
for p in 1 2 3 4; do
  w=$((p/4))
  ip link add cali$p netns $B-w$w mtu 1400 address ee:ee:ee:ee:ee:ee type veth peer name eth0 mtu 1400 netns $B-p$p
  ip -n $B-p$p address add 10.244.$w.$p/32 dev eth0
  ip -n $B-p$p link set eth0 up
  ip -n $B-p$p route add default via 169.254.1.1 dev eth0 onlink
  ip -n $B-p$p neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent
  ip -n $B-w$w link set cali$p up
  ip -n $B-w$w route add 10.244.$w.$p/32 dev cali$p
  ip -n $B-w$w neigh add 10.244.$w.$p lladdr $(ip netns exec $B-p$p cat /sys/class/net/eth0/address) dev cali$p nud permanent
done
for w in 0 1; do ip netns exec $B-w$w nft -f - <<'EOT'
table ip felix {
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established counter accept comment "established"
    ct state invalid counter drop comment "invalid"
    meta l4proto {tcp, udp} th dport 8000 counter accept comment "new"
  }
  chain nat { type nat hook prerouting priority dstnat; ip daddr 10.96.0.1 dnat to 10.244.0.2; }
}
EOT
done
`

type bed struct {
	t    *testing.T
	name string
	// workers are w0's and w1's shortcuts.
	workers [2]*Shortcut
}

func newBed(t *testing.T) *bed {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	b := &bed{t: t, name: fmt.Sprintf("short-%d", os.Getpid())}
	t.Cleanup(func() {
		b.shell(`for n in w0 w1 p1 p2 p3 p4; do ip netns delete $B-$n 2>/dev/null || true; done`)
	})
	b.shell(bedScript)
	for i := range b.workers {
		b.in(fmt.Sprintf("w%d", i), func() error {
			s, err := Load()
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = s.Close() })
			b.workers[i] = s
			return errors.Join(untrack(t.Context(), 4789), untrack(t.Context(), 4789), Set(), b.apply(i)) // twice, as when it is started again
		})
	}
	return b
}

// run is a subtest, with which all fails that fails meanwhile.
func (b *bed) run(name string, f func(t *testing.T)) {
	whole := b.t
	whole.Run(name, func(t *testing.T) {
		b.t = t
		defer func() { b.t = whole }()
		f(t)
	})
}

// apply runs in the worker.
func (b *bed) apply(worker int) error {
	n, err := look()
	if err != nil {
		return err
	}
	return b.workers[worker].Apply(n, allPods)
}

func (b *bed) shell(script string) string {
	b.t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "B="+b.name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// in runs f on a thread of its own in a network namespace of the bed.
func (b *bed) in(namespace string, f func() error) {
	b.t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the runtime throws the thread away
		ns, err := os.Open("/run/netns/" + b.name + "-" + namespace)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			_ = ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		b.t.Fatalf("in %s: %v", namespace, err)
	}
}

// echo answers at port 8000, TCP and UDP, with what it is sent.
func (b *bed) echo(pod string) {
	b.in(pod, func() error {
		l, err := net.Listen("tcp4", ":8000")
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp4", ":8000")
		if err != nil {
			return err
		}
		b.t.Cleanup(func() { _, _ = l.Close(), p.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
			}
		}()
		go func() {
			buffer := make([]byte, 1<<16)
			for {
				n, from, err := p.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = p.WriteTo(buffer[:n], from)
			}
		}()
		return nil
	})
}

func (b *bed) dial(pod, network, to string) net.Conn {
	b.t.Helper()
	var conn net.Conn
	b.in(pod, func() (err error) {
		conn, err = net.DialTimeout(network, to, 5*time.Second)
		return err
	})
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exchange sends so many bytes there and back.
func exchange(conn net.Conn, bytes int, limit time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write(make([]byte, bytes)); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, bytes))
	return err
}

func (b *bed) exchange(conn net.Conn, bytes, times int) {
	b.t.Helper()
	for range times {
		if err := exchange(conn, bytes, 5*time.Second); err != nil {
			b.t.Fatal(err)
		}
	}
}

// counted is how much the counts of a worker grew while f ran.
func (b *bed) counted(worker int, f func()) map[string]uint64 {
	b.t.Helper()
	before, err := b.workers[worker].Counts()
	if err != nil {
		b.t.Fatal(err)
	}
	f()
	after, err := b.workers[worker].Counts()
	if err != nil {
		b.t.Fatal(err)
	}
	for reason, n := range before {
		after[reason] -= n
	}
	return after
}

func (b *bed) count(worker int, r Reason) uint64 {
	b.t.Helper()
	n, err := b.workers[worker].Counts()
	if err != nil {
		b.t.Fatal(err)
	}
	return n[r.String()]
}

// rule is how many packets a rule of a worker has seen.
func (b *bed) rule(worker int, name string) (n int) {
	b.t.Helper()
	out := b.shell(fmt.Sprintf("ip netns exec $B-w%d nft list chain ip felix forward | grep '\"%s\"'", worker, name))
	if _, err := fmt.Sscanf(out[strings.Index(out, "packets "):], "packets %d", &n); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return n
}
