package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/internal/unit"
)

// enrol logs a machine in with a fresh init token.
func (c *cluster) enrol(machine, source string) *Client {
	c.t.Helper()
	token, err := c.operator.IssueInitToken(c.ctx, machine, c.input.InitTokenTTL)
	c.must(err)
	client, login, err := c.client(source, "").LoginMachine(c.ctx, machine, token)
	c.must(err)
	if login.TTL != c.input.LeafTTL {
		c.t.Errorf("%s's token lives %s, want %s", machine, login.TTL, c.input.LeafTTL)
	}
	return client
}

// newCSR asks for more than it should get, in every field that a CSR has.
func newCSR(t *testing.T) (csr, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "evil", Organization: []string{"system:masters"}, SerialNumber: "666"},
		DNSNames: []string{"evil"}, IPAddresses: []net.IP{net.IPv4(6, 6, 6, 6)}, EmailAddresses: []string{"evil@example.com"},
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

// TestCertificatesSayJustTheProfile has every profile signed for its own machine, and compares every field.
func TestCertificatesSayJustTheProfile(t *testing.T) {
	c := startCluster(t)
	clients := map[string]*Client{"": c.operator}
	for _, m := range c.input.Machines {
		clients[string(m.Role)] = c.enrol(m.Name, m.Address.String())
	}
	clients["worker"] = c.enrol("worker-0", fromA)
	names := map[string]string{"vault": "vault-0", "etcd": "etcd-0", "control-plane": "control-plane-0", "worker": "worker-0", "operator": ""}
	clients["operator"] = c.operator
	cas, err := c.anonymous.CAs(c.ctx)
	c.must(err)
	csr, _ := newCSR(t)
	for _, p := range unit.Profiles {
		t.Run(string(p.CA)+"/"+p.Name, func(t *testing.T) {
			var ips []string
			if p.APIAddress {
				ips = []string{"10.96.0.1"}
			}
			p := p.For(names[string(p.Role)])
			cert, err := clients[string(p.Role)].Sign(c.ctx, p, csr, ips...)
			if err != nil {
				t.Fatal(err)
			}
			ttl := c.input.LeafTTL
			if p.Role == unit.RoleOperator {
				ttl = c.input.AdminTTL
			}
			compare(t, p, ips, ttl, cert, cas[p.CA])
		})
	}
}

func compare(t *testing.T, p unit.Profile, ips []string, ttl time.Duration, cert Certificate, ca string) {
	t.Helper()
	block, rest := pem.Decode([]byte(cert.Chain))
	if len(rest) > 0 || cert.CA != ca {
		t.Errorf("chain has more than the leaf, or another CA: %q", rest)
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	if _, err := x.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	var usages []x509.ExtKeyUsage
	if p.Server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if p.Client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	type fields struct {
		Subject    string
		DNS, IPs   []string
		Others     int
		Usage      x509.KeyUsage
		ExtUsage   []x509.ExtKeyUsage
		CA         bool
		Seconds    int64
		MaxPathLen int
	}
	got := fields{
		Subject: x.Subject.String(), DNS: slices.Sorted(slices.Values(x.DNSNames)), Others: len(x.EmailAddresses) + len(x.URIs),
		Usage: x.KeyUsage, ExtUsage: x.ExtKeyUsage, CA: x.IsCA, Seconds: int64(x.NotAfter.Sub(x.NotBefore).Seconds()), MaxPathLen: x.MaxPathLen,
	}
	for _, ip := range x.IPAddresses {
		got.IPs = append(got.IPs, ip.String())
	}
	want := fields{
		Subject: pkix.Name{CommonName: p.CommonName, Organization: p.Organizations}.String(),
		DNS:     slices.Sorted(slices.Values(p.DNSNames)), IPs: ips,
		Usage: x509.KeyUsageDigitalSignature, ExtUsage: usages, Seconds: int64((ttl + 30*time.Second).Seconds()), MaxPathLen: got.MaxPathLen,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMachineGetsNothingOfAnother is the attack of one machine on all that is not its own.
func TestMachineGetsNothingOfAnother(t *testing.T) {
	c := startCluster(t)
	a, b := c.enrol("worker-0", fromA), c.enrol("worker-1", fromB)
	_, err := c.operator.WriteDocument(c.ctx, "worker-1", Desired, 0, map[string]string{"for": "worker-1"})
	c.must(err)
	_, err = b.WriteDocument(c.ctx, "worker-1", Status, 0, map[string]string{"of": "worker-1"})
	c.must(err)
	csr, _ := newCSR(t)
	kubelet := profile(t, unit.CAKubernetes, "kubelet")
	serving := profile(t, unit.CAKubernetes, "kubelet-serving")
	sign := func(p unit.Profile, ips ...string) error { _, err := a.Sign(c.ctx, p, csr, ips...); return err }
	put := func(path string, body any) error { return a.put(c.ctx, path, body, nil) }
	direct := func(extra Fields) error {
		body := Fields{"csr": csr, "common_name": kubelet.For("worker-0").CommonName, "exclude_cn_from_sans": true}
		for k, v := range extra {
			body[k] = v
		}
		return put("demo/pki/kubernetes/sign/kubelet", body)
	}
	if err := direct(nil); err != nil {
		t.Fatalf("its own certificate: %v", err)
	}
	elsewhere := c.client(fromB, "").WithToken(a.Token())
	for name, err := range map[string]error{
		"names of another":     sign(kubelet.For("worker-1")),
		"DNS names of another": sign(serving.For("worker-1")),
		"a DNS name of another beside own": func() error {
			p := serving.For("worker-0")
			p.DNSNames = append(p.DNSNames, "worker-1")
			return sign(p)
		}(),
		"an address":                        sign(serving.For("worker-0"), fromB),
		"a profile of the control plane":    sign(profile(t, unit.CAKubernetes, "kube-scheduler")),
		"the administrator's":               sign(profile(t, unit.CAKubernetes, "admin")),
		"etcd's root":                       sign(profile(t, unit.CAEtcdOverlay, "root")),
		"a group":                           direct(Fields{"organization": "system:masters"}),
		"a longer life":                     direct(Fields{"ttl": "1000h"}),
		"an end":                            direct(Fields{"not_after": "2099-01-01T00:00:00Z"}),
		"a URI":                             direct(Fields{"uri_sans": "spiffe://x"}),
		"a user id":                         direct(Fields{"user_ids": "root"}),
		"the common name as a DNS name":     direct(Fields{"exclude_cn_from_sans": false}),
		"signing verbatim":                  put("demo/pki/kubernetes/sign-verbatim", Fields{"csr": csr}),
		"a key made by Vault":               put("demo/pki/kubernetes/issue/kubelet", Fields{"common_name": "system:node:worker-0"}),
		"an intermediate CA":                put("demo/pki/kubernetes/root/sign-intermediate", Fields{"csr": csr}),
		"desired of another":                second(a.ReadDocument(c.ctx, "worker-1", Desired, &struct{}{})),
		"status of another":                 second(a.ReadDocument(c.ctx, "worker-1", Status, &struct{}{})),
		"write status of another":           second(a.WriteDocument(c.ctx, "worker-1", Status, 1, Fields{})),
		"write its own desired":             second(a.WriteDocument(c.ctx, "worker-0", Desired, 0, Fields{})),
		"the ServiceAccount key":            second(a.ReadSecret(c.ctx, ServiceAccountDocument)),
		"decrypt Kubernetes' Secrets":       put("demo/transit/decrypt/etcd", Fields{"ciphertext": "vault:v1:x"}),
		"an init token":                     second(a.IssueInitToken(c.ctx, "worker-1", time.Minute)),
		"change its entity":                 put("identity/entity/name/demo-worker-0", Fields{"metadata": Fields{"machine": "worker-1"}}),
		"make a token":                      put("auth/token/create", Fields{}),
		"list machines":                     second(a.list(c.ctx, "demo/machines/metadata")),
		"its token from another's address":  second(elsewhere.ReadDocument(c.ctx, "worker-0", Desired, &struct{}{})),
		"read the layout":                   second(Observe(c.ctx, a, c.want)),
		"operator: an unwrapped secret_id":  c.operator.put(c.ctx, "auth/demo/approle/role/worker-0/secret-id", Fields{}, nil),
		"operator: a credential of its own": second(c.operator.IssueInitToken(c.ctx, Operator, time.Minute)),
		"operator: the ServiceAccount key":  second(c.operator.ReadSecret(c.ctx, ServiceAccountDocument)),
		"operator: a policy":                c.operator.put(c.ctx, "sys/policies/acl/demo-operator", Fields{"policy": ""}, nil),
		"operator: a machine's certificate": second(c.operator.Sign(c.ctx, kubelet.For("worker-0"), csr)),
		"operator: write a status":          second(c.operator.WriteDocument(c.ctx, "worker-1", Status, 1, Fields{})),
	} {
		if name == "an address" || strings.Contains(name, "name") {
			// Refused either by policy or by the PKI role.
			var refused *Error
			if !errors.As(err, &refused) || refused.Status != 400 && refused.Status != 403 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func profile(t *testing.T, ca unit.CA, name string) unit.Profile {
	t.Helper()
	i := slices.IndexFunc(unit.Profiles, func(p unit.Profile) bool { return p.CA == ca && p.Name == name })
	if i < 0 {
		t.Fatalf("no profile %s/%s", ca, name)
	}
	return unit.Profiles[i]
}

// TestNobodyIsLockedOut: Vault's default would let whoever knows a machine's name keep it from logging in.
func TestNobodyIsLockedOut(t *testing.T) {
	c := startCluster(t)
	for _, victim := range []string{"worker-0", Operator} {
		for range 10 {
			if _, _, err := c.client(fromB, "").LoginAppRole(c.ctx, RoleID("demo", victim), "guessed"); err == nil {
				t.Fatal("a guess was right")
			}
		}
	}
	c.enrol("worker-0", fromA)
	c.asRoot(func(root *Client) error {
		credential, err := root.IssueOperatorCredential(c.ctx)
		if err != nil {
			return err
		}
		_, _, err = c.anonymous.LoginAppRole(c.ctx, credential.RoleID, credential.SecretID)
		return err
	})
}
