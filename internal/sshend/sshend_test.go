package sshend

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

const log = `Server listening on 10.90.0.16 port 22.
Invalid user Accepted publickey for jump from 198.51.100.2 port 1 ssh2: x ID demo-users-bob (serial 1) CA  from 198.51.100.2 port 1
Accepted publickey for jump from 198.51.100.2 port 4001 ssh2: ED25519-CERT SHA256:aaa ID demo-users-bob (serial 7) CA ED25519 SHA256:bbb
Accepted publickey for jump from 198.51.100.2 port 4002 ssh2: ED25519-CERT SHA256:aaa ID operator (serial 8) CA ED25519 SHA256:bbb
Accepted publickey for jump from 198.51.100.3 port 4001 ssh2: ED25519-CERT SHA256:aaa ID demo-users-alice (serial 9) CA ED25519 SHA256:bbb
Accepted publickey for jump from 198.51.100.2 port 4001 ssh2: ED25519-CERT SHA256:aaa ID demo-users-alice (serial 10) CA ED25519 SHA256:bbb
Disconnected from user jump 198.51.100.3 port 4001
`

func TestDoomed(t *testing.T) {
	who, err := Who(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	open, err := parseOpen(`0      0      10.90.0.16:22     198.51.100.2:4001
0      0      10.90.0.16:22     198.51.100.2:4002
0      0      10.90.0.16:22     [::ffff:198.51.100.3]:4001
0      0      10.90.0.16:22     198.51.100.4:4001
`)
	if err != nil {
		t.Fatal(err)
	}
	for revoked, want := range map[string]string{
		"demo-users-alice": "[198.51.100.2:4001 198.51.100.3:4001 198.51.100.4:4001]",
		"demo-users-bob":   "[198.51.100.4:4001]", // whose port alice has now
		"operator":         "[198.51.100.2:4002 198.51.100.4:4001]",
	} {
		if got := fmt.Sprint(Doomed(open, who, []string{revoked})); got != want {
			t.Errorf("%s revoked ends %s, want %s", revoked, got, want)
		}
	}
	if len(who) != 3 {
		t.Errorf("what a client called itself is taken for somebody: %v", who)
	}
}

// TestEnd ends a real connection, and not the one beside it.
func TestEnd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dial := func() (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	bad, _ := dial()
	good, server := dial()
	end := netip.MustParseAddrPort(bad.LocalAddr().String())
	open, err := Open(t.Context(), port)
	if err != nil || len(open) != 2 {
		t.Fatalf("open are %v, %v", open, err)
	}
	if err := End(t.Context(), port, []netip.AddrPort{end}); err != nil {
		t.Fatal(err)
	}
	_ = bad.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := bad.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("it goes on: %v", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	_ = good.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := good.Read(make([]byte, 1)); err != nil {
		t.Errorf("another's ended, too: %v", err)
	}
}
