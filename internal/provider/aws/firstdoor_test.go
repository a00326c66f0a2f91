package aws

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/identity"
	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/test/awsapi"
)

// The test is also the command that sshd asks for keys.
func init() {
	if len(os.Args) == 4 && os.Args[1] == unit.InstanceKeys {
		keys, err := identity.Keys(context.Background(), os.Args[3], os.Args[2], time.Now())
		fmt.Println(strings.Join(keys, "\n"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// someone is a user of this host who has neither a shell nor a password, in the place of unit.JumpUser.
const someone = "nobody"

// startBastion runs the sshd that a cloud's bastion has before there is a Vault.
func startBastion(t *testing.T, service string) (address string, host ssh.PublicKey) {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil || os.Getuid() != 0 {
		t.Skip("this needs root, and sshd: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/run", "ashlar-door-") // sshd runs no command from where others may write
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command := write("keys", "#!/bin/sh\nexec "+write("self", string(self), 0o755)+` "$@" `+service+"\n", 0o755)

	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"bastion-0"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close() // was never used

	d := unit.Desired{Cluster: "demo", Region: "eu-west-1", Self: "bastion-0",
		Machines: []unit.Machine{{Name: "bastion-0", Role: v1alpha1.RoleBastion, Address: netip.MustParseAddr("127.0.0.1")}}}
	config := ""
	places := []string{"127.0.0.1:22", address, unit.Bin + "/ashlar", command, unit.SSHHostKey, write("host", string(pem.EncodeToMemory(block)), 0o600),
		unit.JumpUser, someone}
	write("host-cert.pub", string(ssh.MarshalAuthorizedKey(cert)), 0o644)
	for _, u := range unit.For(d) {
		for i, f := range u.Files {
			if f.Path == "/etc/ssh/sshd_config" {
				config = f.Content
			} else {
				places = append(places, f.Path, write(fmt.Sprint("file", i), f.Content, 0o644))
			}
		}
	}
	path := write("config", strings.NewReplacer(places...).Replace(config), 0o600)
	var said bytes.Buffer
	sshd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", path)
	sshd.Stderr = &said
	if err := sshd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sshd.Process.Kill()
		_ = sshd.Wait() // killed
		if t.Failed() {
			t.Logf("%s\nsshd said:\n%s", config, said.String())
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return address, signer.PublicKey()
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestFirstDoor comes through a bastion that knows no CA yet, by a key that AWS has told it of: a real sshd, AWS's own client,
// and stand-ins for the two services of AWS in between.
func TestFirstDoor(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cloud, stop := awsapi.Serve("111122223333", "eu-west-1")
	defer stop()
	imds, err := awsapi.NewIMDS(awsapi.Describe{ID: "i-01", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer imds.Serve(l)()
	says := func(text string) { imds.Set("meta-data/managed-ssh-keys/active-keys/"+someone, text) }
	cloud.Change(func(c *awsapi.Cloud) {
		c.Instances["i-01"] = awsapi.Instance{State: "running"}
		c.OnKey = func(_, user, text string) {
			if user == unit.JumpUser {
				says(text)
			}
		}
	})
	address, host := startBastion(t, "http://"+l.Addr().String())
	p := &Provider{config: &aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(cloud.URL()), RetryMaxAttempts: 1}}
	for id, secret := range cloud.Keys {
		p.config.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	}
	pair, err := sshkey.New()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey([]byte(pair.Private))
	if err != nil {
		t.Fatal(err)
	}
	user, authority := someone, host
	p.Enter = func(context.Context, string) (Entry, error) {
		return Entry{User: user, Signer: signer, HostCAs: []ssh.PublicKey{authority}}, nil
	}
	come := func() (*ssh.Client, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.enter(ctx, conn, door{machine: "bastion-0"})
		if err != nil {
			_ = conn.Close()
		}
		return c, err
	}
	refused := func(what string) {
		t.Helper()
		if c, err := come(); err == nil {
			_ = c.Close()
			t.Errorf("%s: let in", what)
		}
	}
	now := time.Now()
	refused("nobody has sent a key")
	says(awsapi.ActiveKey("i-01", pair.Public, now.Add(-time.Second)))
	refused("the key's minute is over")
	says(awsapi.ActiveKey("i-02", pair.Public, now.Add(time.Minute)))
	refused("a key for another instance")
	cloud.Change(func(c *awsapi.Cloud) { c.Refused["ec2-instance-connect:SendSSHPublicKey"] = true })
	says("")
	if err := p.sendKey(ctx, "i-01", pair.Public); err == nil {
		t.Error("AWS refuses, and it is not said")
	}
	refused("AWS does not allow it")
	cloud.Change(func(c *awsapi.Cloud) { c.Refused = map[string]bool{} })
	if err := p.sendKey(ctx, "i-01", pair.Public); err != nil {
		t.Fatal(err)
	}
	user = "root"
	refused("root, by a key that is for being passed on")
	user, authority = someone, signer.PublicKey()
	refused("a host whose key somebody else signed")
	authority = host
	c, err := come()
	if err != nil {
		t.Fatalf("with all of it right: %v", err)
	}
	defer func() { _ = c.Close() }()

	vault, err := net.Listen("tcp", fmt.Sprintf("127.0.0.77:%d", unit.PortVault))
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	go func() {
		if conn, err := vault.Accept(); err == nil {
			_, _ = conn.Write([]byte("vault"))
			_ = conn.Close()
		}
	}()
	through, err := c.DialContext(ctx, "tcp", vault.Addr().String())
	if err != nil {
		t.Fatalf("through it, to Vault: %v", err)
	}
	if b, err := io.ReadAll(through); string(b) != "vault" || err != nil {
		t.Errorf("through it, Vault says %q, %v", b, err)
	}
	if _, err := c.DialContext(ctx, "tcp", "127.0.0.77:2379"); err == nil || !strings.Contains(err.Error(), "prohibited") {
		t.Errorf("through it, to etcd: %v", err)
	}
	if s, err := c.NewSession(); err == nil {
		_ = s.Close()
		t.Error("it gives a session")
	}
}
