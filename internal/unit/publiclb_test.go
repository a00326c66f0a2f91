package unit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// TestSharedPort has haproxy itself tell services apart by the name that a client asks for, and turn away who asks for another.
func TestSharedPort(t *testing.T) {
	if _, err := os.Stat("/usr/sbin/haproxy"); err != nil {
		t.Skip("this host has no haproxy: apt-get install haproxy")
	}
	d := on(small, "public-lb-0")
	d.Machines = append(d.Machines, unit.Machine{Name: "public-lb-0", Role: v1alpha1.RolePublicLB, Address: netip.MustParseAddr("127.0.0.1")})
	shared, alone := freePort(t), freePort(t)
	d.PublicServices = []unit.PublicService{
		{Name: "jenkins", Port: shared, Hostnames: []string{"jenkins.example.org", "ci.example.org"}, Upstreams: speaks(t, "jenkins")},
		{Name: "any", Port: alone, Upstreams: speaks(t, "any")},
		{Name: "foreman", Port: shared, Hostnames: []string{"foreman.example.org"}, Upstreams: speaks(t, "foreman")},
	}
	u, _ := find(unit.For(d), "haproxy")
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, []byte(file(u, "/etc/haproxy/haproxy.cfg").Content), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "/usr/sbin/haproxy", "-db", "-f", config)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for _, test := range []struct {
		port     int
		name, is string
	}{
		{shared, "jenkins.example.org", "jenkins"}, {shared, "ci.example.org", "jenkins"}, {shared, "Foreman.example.org", "foreman"},
		{shared, "other.example.org", ""}, {shared, "x.jenkins.example.org", ""}, {shared, "", ""},
		{alone, "other.example.org", "any"}, {alone, "", "any"},
	} {
		var got string
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			var err error
			if got, err = asks(test.port, test.name); got != "" || test.is == "" && err == nil || time.Now().After(deadline) {
				break // its checks take their time
			}
		}
		if got != test.is {
			t.Errorf("who asks for %q at %d comes to %q, want %q", test.name, test.port, got, test.is)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// speaks is a service that speaks TLS, and says its name.
func speaks(t *testing.T, name string) []netip.AddrPort {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = fmt.Fprint(conn, name); _ = conn.Close() }()
		}
	}()
	return []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}
}

// asks connects and asks for a name; it is no error to be turned away once connected.
func asks(port int, name string) (string, error) {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 64)
	n, err := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Read(b) //nolint:gosec // who answers is the question
	if n == 0 && err != nil && os.IsTimeout(err) {
		return "", err
	}
	return string(b[:n]), nil
}
