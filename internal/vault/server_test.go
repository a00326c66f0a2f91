package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// server is a real Vault on loopback, and what the test knows of it.
type server struct {
	t       *testing.T
	dir     string
	binary  string
	address string // host:port
	name    string // raft node, and the certificate's DNS name
	pin     [32]byte
	cert    string
	process *exec.Cmd
	env     []string
}

// binary finds Vault, or skips the test.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.Getenv("ASHLAR_TEST_BUNDLE"), "bin", "vault")
	if _, err := os.Stat(path); err != nil || os.Getenv("ASHLAR_TEST_BUNDLE") == "" {
		t.Skip("set ASHLAR_TEST_BUNDLE to a bundle directory (made by `make bundle`) to test against a real Vault")
	}
	return path
}

// startServer starts an empty, sealed Vault with a self-signed certificate, as a vault machine does.
func startServer(t *testing.T, name string) *server {
	t.Helper()
	return startServerWith(t, name, "", nil)
}

// startServerWith adds to the server's configuration and environment.
func startServerWith(t *testing.T, name, more string, env []string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), binary: binary(t), address: freeAddress(t), name: name, env: env}
	s.selfSign()
	config := fmt.Sprintf(`ui            = false
disable_mlock = true
log_level     = "warn"
api_addr      = "https://%[1]s"
cluster_addr  = "https://%[2]s"
listener "tcp" {
  address         = "%[1]s"
  cluster_address = "%[2]s"
  tls_cert_file   = "%[3]s/tls.crt"
  tls_key_file    = "%[3]s/tls.key"
  tls_min_version = "tls12"
}
storage "raft" {
  path                   = "%[3]s/data"
  node_id                = "%[4]s"
  performance_multiplier = 1
}
`, s.address, freeAddress(t), s.dir, name) + more
	s.must(os.Mkdir(filepath.Join(s.dir, "data"), 0o700))
	s.must(os.WriteFile(filepath.Join(s.dir, "config.hcl"), []byte(config), 0o600))
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command(s.binary, "server", "-config="+filepath.Join(s.dir, "config.hcl"))
	s.process.Env = append([]string{"HOME=" + s.dir}, s.env...)
	out := &strings.Builder{}
	s.process.Stdout, s.process.Stderr = out, out
	s.must(s.process.Start())
	process := s.process
	s.t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		if s.t.Failed() {
			s.t.Logf("vault %s said:\n%s", s.name, out)
		}
	})
	s.eventually("vault listens", func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (s *server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) eventually(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (s *server) selfSign() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: s.name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{s.name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	s.pin = sha256.Sum256(der)
	s.cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	s.install(s.cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func (s *server) install(cert, key string) {
	s.must(os.WriteFile(filepath.Join(s.dir, "tls.crt"), []byte(cert), 0o600))
	s.must(os.WriteFile(filepath.Join(s.dir, "tls.key"), []byte(key), 0o600))
}

func (s *server) reload() { s.must(s.process.Process.Signal(syscall.SIGHUP)) }

// client comes from the given source address, and trusts the pinned certificate or the given CAs.
func (s *server) client(source, cas string) *Client {
	s.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	o := Options{
		Cluster: "demo", Addresses: []string{s.name + ":8200"}, CAs: cas,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, s.address)
		},
	}
	if cas == "" {
		o.Pins = [][32]byte{s.pin}
	}
	c, err := New(o)
	s.must(err)
	s.t.Cleanup(c.Close)
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // was never used
	return l.Addr().String()
}

// Source addresses of the machines in the tests.
const (
	fromOperator = "127.0.0.9"
	fromA        = "127.0.0.2" // worker-0
	fromB        = "127.0.0.3" // worker-1
	fromCP       = "127.0.0.4" // control-plane-0
	fromVault    = "127.0.0.5" // vault-0
	fromRobot    = "127.0.0.8" // robot ci
)

func testInput(auditDirectory string) Input {
	return Input{
		Cluster: "demo", ID: "0123456789abcdef",
		Machines: []unit.Machine{
			{Name: "vault-0", Role: v1alpha1.RoleVault, Address: netip.MustParseAddr(fromVault)},
			{Name: "etcd-0", Role: v1alpha1.RoleEtcd, Address: netip.MustParseAddr("127.0.0.6")},
			{Name: "lb-0", Role: v1alpha1.RoleLB, Address: netip.MustParseAddr("127.0.0.7")},
			{Name: "control-plane-0", Role: v1alpha1.RoleControlPlane, Address: netip.MustParseAddr(fromCP)},
			{Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr(fromA)},
			{Name: "worker-1", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr(fromB)},
			{Name: "bastion-0", Role: v1alpha1.RoleBastion, Address: netip.MustParseAddr("127.0.0.10")},
		},
		SSH:     []v1alpha1.SSHGrant{{Group: "on-call", Roles: []v1alpha1.Role{v1alpha1.RoleWorker}}},
		LeafTTL: 24 * time.Hour, CATTL: 87600 * time.Hour, InitTokenTTL: 10 * time.Minute, AdminTTL: 8 * time.Hour,
		Robots:          []v1alpha1.Robot{{Name: "ci", Groups: []string{"deployers", "auditors"}, CIDRs: []string{fromRobot + "/32", "10.20.30.40/24"}}},
		Provider:        &v1alpha1.IdentityProvider{Issuer: "https://login.example.com", ClientID: "demo", UserClaim: "preferred_username", GroupsClaim: "groups"},
		OperatorAddress: netip.MustParseAddr(fromOperator),
		ServiceIP:       netip.MustParseAddr("10.96.0.1"),
		AuditDirectory:  auditDirectory,
	}
}

// cluster is a Vault with the layout in it.
type cluster struct {
	*server
	ctx   context.Context
	input Input
	want  State
	keys  Keys
	file  string // of keys
	// anonymous comes from the operator's address without a token; operator is logged in.
	anonymous, operator *Client
	root                string // the first root token, which should be dead
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	s := startServer(t, "vault-0")
	return furnish(t, s, testInput(s.dir))
}

// furnish makes the layout in an empty Vault.
func furnish(t *testing.T, s *server, in Input) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	c := &cluster{server: s, ctx: ctx, input: in, file: filepath.Join(s.dir, "keys.json")}
	c.want = Layout(c.input)
	c.anonymous = s.client(fromOperator, "")

	began := time.Now()
	lap := func(what string) {
		t.Logf("%s: %d ms", what, time.Since(began).Milliseconds())
		began = time.Now()
	}
	var err error
	c.keys, c.root, err = c.anonymous.Initialise(ctx, c.file)
	s.must(err)
	lap("initialise")
	s.must(c.anonymous.Unseal(ctx, c.keys))
	s.must(c.anonymous.WaitActive(ctx))
	lap("unseal")
	var credential OperatorCredential
	s.must(c.anonymous.UseRoot(ctx, c.root, func(root *Client) error {
		have, err := Observe(ctx, root, c.want)
		s.must(err)
		lap("first observe")
		s.must(Apply(ctx, root, Diff(c.want, have)))
		lap("first apply")
		s.must(root.EnsureServiceAccountKey(ctx, ServiceAccountDocument))
		credential, err = root.IssueOperatorCredential(ctx)
		return err
	}))
	c.operator, _, err = c.anonymous.LoginAppRole(ctx, credential.RoleID, credential.SecretID)
	s.must(err)
	lap("operator logged in")
	return c
}

// drift observes as the operator.
func (c *cluster) drift() []Drift {
	c.t.Helper()
	have, err := Observe(c.ctx, c.operator, c.want)
	c.must(err)
	return Diff(c.want, have)
}

// asRoot does by hand what somebody might do.
func (c *cluster) asRoot(f func(root *Client) error) {
	c.t.Helper()
	c.must(c.anonymous.WithRoot(c.ctx, c.keys, f))
}
