package sshkey

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// signer is a new key.
func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// certify makes a certificate of a kind for a name.
func certify(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, name string, until time.Time) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: []string{name}, KeyId: name,
		ValidAfter: uint64(until.Add(-48 * time.Hour).Unix()), ValidBefore: uint64(until.Unix())}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve is a server that shows a host key, and lets in whoever shows a certificate; it answers each command with its own name.
func serve(t *testing.T, host ssh.Signer, seen chan<- string) string {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		cert, ok := key.(*ssh.Certificate)
		if !ok {
			return nil, fmt.Errorf("%s is no certificate", key.Type())
		}
		seen <- cert.KeyId
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go answer(conn, config)
		}
	}()
	return l.Addr().String()
}

func answer(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			_ = r.Reply(r.Type == "exec" || r.Type == "env", nil)
			if r.Type == "exec" {
				_, _ = io.WriteString(channel, "hello\n")
				_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 3})
				_ = channel.Close()
			}
		}
	}
}

// TestStrangersAreRefused has the real ssh meet hosts: it speaks to none but one whose key the CA has signed for that name.
func TestStrangersAreRefused(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("this host has no ssh: apt-get install openssh-client")
	}
	ca, other, host := signer(t), signer(t), signer(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	for what, test := range map[string]struct {
		cert    *ssh.Certificate
		refused string // nothing: it is let in
	}{
		"the machine":                   {certify(t, ca, host.PublicKey(), ssh.HostCert, "worker-0", tomorrow), ""},
		"a host without a certificate":  {nil, "no matching host key type found"},
		"one of another CA":             {certify(t, other, host.PublicKey(), ssh.HostCert, "worker-0", tomorrow), "Host key verification failed"},
		"another machine":               {certify(t, ca, host.PublicKey(), ssh.HostCert, "worker-1", tomorrow), "Host key verification failed"},
		"one whose certificate expired": {certify(t, ca, host.PublicKey(), ssh.HostCert, "worker-0", time.Now().Add(-time.Minute)), "Host key verification failed"},
		"one with a user's certificate": {certify(t, ca, host.PublicKey(), ssh.UserCert, "worker-0", tomorrow), "Host key verification failed"},
	} {
		t.Run(what, func(t *testing.T) {
			key := host
			if test.cert != nil {
				if key, err = ssh.NewCertSigner(test.cert, host); err != nil {
					t.Fatal(err)
				}
			}
			seen := make(chan string, 10)
			out, code := run(t, program, serve(t, key, seen), ca)
			if test.refused == "" {
				if code != 3 || out != "hello\n" || len(seen) == 0 || <-seen != "jump" {
					t.Errorf("exit %d: %s", code, out)
				}
				return
			}
			if code != 255 || !strings.Contains(out, test.refused) || len(seen) > 0 {
				t.Errorf("exit %d, and it was shown %d credentials: %s", code, len(seen), out)
			}
		})
	}
}

// run has ssh connect to an address that it takes for worker-0.
func run(t *testing.T, program, address string, ca ssh.Signer) (string, int) {
	t.Helper()
	pair, err := New()
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pair.Public))
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = string(ssh.MarshalAuthorizedKey(certify(t, ca, public, ssh.UserCert, "jump", time.Now().Add(time.Hour))))
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "it's 100%")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// A path that a shell, or ssh, would read otherwise than as it is.
	proxy := filepath.Join(dir, "proxy")
	script := "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/" + port + "\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\ncat <&3 & cat >&3\n"
	if err := os.WriteFile(proxy, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	to := Host{Name: "worker-0", Address: "192.0.2.1", User: "root"}
	client := Client{Key: write("key", pair.Private), Certificate: write("cert", pair.Certificate), Bastion: to, To: to, Proxy: []string{proxy},
		KnownHosts: write("known_hosts", "@cert-authority worker-0 "+string(ssh.MarshalAuthorizedKey(ca.PublicKey())))}
	cmd := exec.CommandContext(ctx, program, "-F", write("config", client.Config()), "--", "worker-0", "true")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	_ = cmd.Run() // its code says how it ended
	return out.String(), cmd.ProcessState.ExitCode()
}
