package aws

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/relay"
	modules "ashlar.dev/ashlar/terraform/aws"
	"ashlar.dev/ashlar/test/awsapi"
)

// Addresses of this host that stand for machines: a real sshd listens at each.
var (
	bastionAt = netip.MustParseAddr("127.0.66.1")
	etcdAt    = netip.MustParseAddr("127.0.66.2")
)

// site is a bastion and a machine behind it, each with the real sshd, and who may enter.
type site struct {
	userCA, hostCA ssh.Signer
	dir            string
	p              *Provider
}

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, pem.EncodeToMemory(block)
}

func certificate(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, name string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: []string{name}, KeyId: name,
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(5 * time.Minute).Unix())}
	if kind == ssh.UserCert {
		c.Extensions = map[string]string{"permit-port-forwarding": ""}
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

func newSite(t *testing.T) *site {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and sshd: apt-get install openssh-server")
	}
	s := &site{dir: t.TempDir()}
	s.userCA, _ = newKey(t)
	s.hostCA, _ = newKey(t)
	cloud, stop := awsapi.Serve("111122223333", "eu-central-1")
	t.Cleanup(stop)
	cloud.Change(func(c *awsapi.Cloud) {
		for _, id := range []string{"i-1", "i-2"} {
			c.Instances[id] = awsapi.Instance{State: "running", Tags: map[string]string{clusterTag: "demo"}}
		}
		c.Instances["i-3"] = awsapi.Instance{State: "stopped", Tags: map[string]string{clusterTag: "demo"}}
	})
	t.Setenv("AWS_ENDPOINT_URL", cloud.URL())
	for _, e := range cloud.Environment() {
		key, value, _ := strings.Cut(e, "=")
		t.Setenv(key, value)
	}
	s.p, err = New(Options{
		Cluster: &v1alpha1.Cluster{Metadata: v1alpha1.Metadata{Name: "demo"}, Spec: v1alpha1.Spec{Provider: v1alpha1.Provider{AWS: &v1alpha1.AWS{Region: "eu-central-1"}}}},
		Dir:     s.dir, Plugins: s.dir, Modules: modules.Files, Archive: func(context.Context) (Archive, error) { return Archive{}, nil },
		Enter: func(_ context.Context, machine string) (Entry, error) {
			key, _ := newKey(t)
			signer, err := ssh.NewCertSigner(certificate(t, s.userCA, key.PublicKey(), ssh.UserCert, machine), key)
			return Entry{User: "root", Signer: signer, HostCAs: []ssh.PublicKey{s.hostCA.PublicKey()}}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.p.passOn = s.p.Enter // how AWS lets somebody through is TestFirstDoor's
	s.p.outputs = &Outputs{BastionAddress: bastionAt, Machines: map[string]Made{
		"bastion-0": {InstanceID: "i-1", PrivateIP: bastionAt, Role: v1alpha1.RoleBastion},
		"etcd-0":    {InstanceID: "i-2", PrivateIP: etcdAt, Role: v1alpha1.RoleEtcd},
		"vault-0":   {InstanceID: "i-3", PrivateIP: etcdAt, Role: v1alpha1.RoleVault},
	}}
	s.serve(t, sshd, bastionAt, "bastion-0", "AllowTcpForwarding local\nMaxSessions 0\nPermitTTY no\n")
	s.serve(t, sshd, etcdAt, "etcd-0", "AllowTcpForwarding no\n")
	return s
}

// serve runs sshd as the agent has it run: it takes certificates for the machine's name, and shows one.
func (s *site) serve(t *testing.T, sshd string, at netip.Addr, name, more string) {
	t.Helper()
	key, private := newKey(t)
	file := func(suffix string, content []byte) string {
		path := filepath.Join(s.dir, name+suffix)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := fmt.Sprintf("ListenAddress %s:22\nHostKey %s\nHostCertificate %s\nTrustedUserCAKeys %s\nAuthorizedPrincipalsFile %s\nAuthorizedKeysFile none\n"+
		"PermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\nPidFile none\n%s", at,
		file(".key", private), file("-cert.pub", ssh.MarshalAuthorizedKey(certificate(t, s.hostCA, key.PublicKey(), ssh.HostCert, name))),
		file(".ca", ssh.MarshalAuthorizedKey(s.userCA.PublicKey())), file(".principals", []byte(name+"\n")), more)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(sshd, "-D", "-e", "-f", file(".conf", []byte(config)))
	cmd.Stderr, cmd.WaitDelay = &said, time.Second // who is still connected has its own process
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, or said why
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", at.String()+":22", time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("sshd of %s: %s", name, said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd of %s does not listen: %v", name, err)
		}
	}
}

func TestExec(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, said bytes.Buffer
	err := s.p.Exec(ctx, "etcd-0", provider.Exec{Args: []string{"/bin/sh", "-c", `cat; printf '%s|' "$@" "$SECRET"; echo oops >&2; exit 7`, "sh", "a b", `c'd"$e`, ""},
		Env: []string{"SECRET=it's"}, Stdin: strings.NewReader("from here\n"), Stdout: &out, Stderr: &said})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it exits with 7, and is %v", err)
	}
	if want := "from here\n" + `a b|c'd"$e||it's|`; out.String() != want || said.String() != "oops\n" {
		t.Errorf("got %q and %q, want %q", out.String(), said.String(), want)
	}
	if err := s.p.Exec(ctx, "etcd-0", provider.Exec{Args: []string{"/bin/true"}}); err != nil {
		t.Errorf("without any input: %v", err)
	}
	if err := s.p.Exec(ctx, "vault-0", provider.Exec{Args: []string{"/bin/true"}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("on a machine that is off: %v", err)
	}
	short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	if err := s.p.Exec(short, "etcd-0", provider.Exec{Args: []string{"/bin/sleep", "60"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that takes too long: %v", err)
	}
}

// The test is also the command that hands connections on.
func init() {
	if len(os.Args) == 3 && os.Args[1] == "test-pipe" {
		if err := relay.Pipe(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// TestDialFrom opens connections from a machine, by the real sshd and the command that machines have.
func TestDialFrom(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := pipe
	pipe = []string{self, "test-pipe"}
	defer func() { pipe = own }()
	l, err := net.Listen("tcp", "127.0.66.4:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.CopyN(c, c, 5)
		_ = c.Close()
	}()
	c, err := s.p.Dial(ctx, "etcd-0", "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("from the machine comes %q, %v", b, err)
	}
	_ = c.Close()
	closed := l.Addr().String()
	_ = l.Close()
	if _, err := s.p.Dial(ctx, "etcd-0", "tcp", closed); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from the machine, to a port that is closed: %v", err)
	}
	if _, err := s.p.Dial(ctx, "vault-0", "tcp", closed); err == nil {
		t.Error("from a machine that is off")
	}
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	file := filepath.Join(s.dir, "made", "on the way", "it's")
	content := make([]byte, 100_000)
	_, _ = rand.Read(content) // never fails (crypto/rand)
	for _, c := range [][]byte{[]byte("before"), content} {
		if err := s.p.Write(ctx, "etcd-0", []provider.File{{Path: file, Mode: 0o640, Content: c}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.p.Read(ctx, "etcd-0", file)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was written is not what is read: %d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file there is %v, %v", left, err)
	}
	if _, err := s.p.Read(ctx, "etcd-0", file+".not"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := s.p.Read(ctx, "etcd-0", s.dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

func TestDial(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.66.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(c, c) // until the other side is done
		_ = c.Close()
	}()
	c, err := s.p.Dial(ctx, provider.FromOperator, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 5)
	if _, err = c.Write([]byte("hello")); err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || string(got) != "hello" {
		t.Errorf("through the bastion comes %q, %v", got, err)
	}
	if _, err := s.p.Dial(ctx, provider.FromInternet, "tcp", l.Addr().String()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("from the internet: %v", err)
	}
	if _, err := s.p.Dial(ctx, "etcd-0", "udp", l.Addr().String()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("from a machine, by UDP: %v", err)
	}
	if _, err := s.p.Listen(ctx, provider.FromOperator, "tcp", ""); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("listen: %v", err)
	}
}

// A host that shows a certificate for another name, or one of another CA, is not entered.
func TestHostsAreNotTrusted(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	made := s.p.outputs.Machines["etcd-0"]
	s.p.outputs.Machines["etcd-1"] = made
	if err := s.p.Exec(ctx, "etcd-1", provider.Exec{Args: []string{"/bin/true"}}); err == nil || !strings.Contains(err.Error(), `principal "etcd-1" not in the set`) {
		t.Errorf("etcd-0 was taken for etcd-1: %v", err)
	}
	s.hostCA, _ = newKey(t)
	if err := s.p.Exec(ctx, "etcd-0", provider.Exec{Args: []string{"/bin/true"}}); err == nil || !strings.Contains(err.Error(), "no authorities") && !strings.Contains(err.Error(), "authority") {
		t.Errorf("a host that another CA has signed was entered: %v", err)
	}
}
