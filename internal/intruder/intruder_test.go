package intruder

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/testvault"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

func clusterInput() vault.Input {
	machine := func(name string, role v1alpha1.Role, address string) unit.Machine {
		return unit.Machine{Name: name, Role: role, Address: netip.MustParseAddr(address)}
	}
	return vault.Input{
		Cluster: "demo", ID: "0123456789abcdef",
		Machines: []unit.Machine{
			machine("vault-0", v1alpha1.RoleVault, "127.0.0.5"), machine("etcd-0", v1alpha1.RoleEtcd, "127.0.0.6"),
			machine("control-plane-0", v1alpha1.RoleControlPlane, "127.0.0.4"),
			machine("worker-0", v1alpha1.RoleWorker, "127.0.0.2"), machine("worker-1", v1alpha1.RoleWorker, "127.0.0.3"),
		},
		LeafTTL: 24 * time.Hour, CATTL: 87600 * time.Hour, InitTokenTTL: 10 * time.Minute, AdminTTL: 8 * time.Hour,
		OperatorAddress: netip.MustParseAddr("127.0.0.9"), ServiceIP: netip.MustParseAddr("10.96.0.1"),
	}
}

// broken is a cluster of which a machine was taken over.
type broken struct {
	*testvault.Server
	ctx   context.Context
	input vault.Input
}

func start(t *testing.T) broken {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	in := clusterInput()
	s, err := testvault.Start(ctx, testserver.Bin(t, "vault"), in)
	t.Cleanup(s.Stop)
	if err != nil {
		t.Fatal(err)
	}
	b := broken{s, ctx, in}
	for _, m := range in.Machines {
		if _, err := s.Operator.WriteDocument(ctx, m.Name, vault.Desired, 0, unit.Desired{Self: m.Name}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.enrol(t, m).WriteDocument(ctx, m.Name, vault.Status, 0, map[string]string{"machine": m.Name}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b broken) enrol(t *testing.T, m unit.Machine) *vault.Client {
	t.Helper()
	here, err := b.Client(m.Address.AsSlice())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(here.Close)
	machine, _, err := here.LoginMachine(b.ctx, m.Name, b.initToken(t, m.Name))
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

func (b broken) initToken(t *testing.T, machine string) string {
	t.Helper()
	token, err := b.Operator.IssueInitToken(b.ctx, machine, b.input.InitTokenTTL)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// intruder took a machine over. It also stole the init token of each other machine.
func (b broken) intruder(t *testing.T, name string) *Intruder {
	t.Helper()
	i := &Intruder{Cluster: b.input.Cluster, LeafTTL: b.input.LeafTTL}
	for _, m := range b.input.Machines {
		if m.Name == name {
			i.Own = m
		} else {
			i.Others = append(i.Others, m)
		}
	}
	i.Tokens = []string{b.enrol(t, i.Own).Token()}
	for _, m := range i.Others {
		i.Tokens = append(i.Tokens, b.initToken(t, m.Name))
	}
	i.Tokens = append(i.Tokens, b.initToken(t, name))
	i.Secrets = []string{"00000000-0000-0000-0000-000000000000"}
	anonymous, err := b.Client(i.Own.Address.AsSlice())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(anonymous.Close)
	if i.CAs, err = anonymous.CAs(b.ctx); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"worker-1"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	i.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	i.Send = b.sender(t, i.Own.Address)
	return i
}

func (b broken) sender(t *testing.T, source netip.Addr) Send {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.Cert))
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}}
	client := &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "vault"}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return Over(client, b.Address)
}

func requests() int {
	if os.Getenv("ASHLAR_SLOW") != "" {
		return 400
	}
	return 40
}

// TestMachineStaysItself: whatever a machine asks for, in whatever order, with whatever it has got before and with
// stolen init tokens: it gets no credential of another machine, of another role, or of another group.
func TestMachineStaysItself(t *testing.T) {
	b := start(t)
	for _, name := range []string{"worker-0", "control-plane-0", "etcd-0"} {
		i := b.intruder(t, name)
		t.Run(name, func(t *testing.T) {
			granted := 0
			send := i.Send
			i.Send = func(ctx context.Context, method, path, token string, wrap bool, body map[string]any) (int, []byte, error) {
				status, answer, err := send(ctx, method, path, token, wrap, body)
				if status < http.StatusMultipleChoices {
					granted++
				}
				return status, answer, err
			}
			rapid.Check(t, func(t *rapid.T) {
				n := rapid.IntRange(1, requests()).Draw(t, "requests")
				prize, err := i.Run(b.ctx, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }, n)
				if err != nil || prize != "" {
					t.Fatalf("%s got %s %v", name, prize, err)
				}
			})
			if granted == 0 {
				t.Error("nothing was granted, not even its own: the requests are no test")
			}
			t.Logf("%d requests were granted", granted)
		})
	}
	t.Run("Vault is as it was", func(t *testing.T) {
		want := vault.Layout(withAudit(b))
		have, err := vault.Observe(b.ctx, b.Operator, want)
		if err != nil {
			t.Fatal(err)
		}
		if drift := vault.Diff(want, have); len(drift) > 0 {
			t.Errorf("it differs: %v", drift)
		}
	})
}

func withAudit(b broken) vault.Input {
	in := b.input
	in.AuditDirectory = b.Dir
	return in
}

// TestIntruderFindsHoles: where the layout is loosened, random requests do get what is not the machine's.
func TestIntruderFindsHoles(t *testing.T) {
	b := start(t)
	want := vault.Layout(withAudit(b))
	for _, hole := range []struct {
		name, path string
		change     func(fields vault.Fields)
	}{
		{"a PKI role that signs any name", "demo/pki/kubernetes/roles/kubelet-serving", func(f vault.Fields) { f["allow_any_name"] = true }},
		{"a PKI role for CAs", "demo/pki/kubernetes/roles/kubelet", func(f vault.Fields) { f["key_usage"] = []string{"DigitalSignature", "CertSign"} }},
		{"a PKI role with a group too many", "demo/pki/kubernetes/roles/kubelet", func(f vault.Fields) { f["organization"] = []string{"system:masters"} }},
		{"a policy that reads every machine's documents", "sys/policies/acl/demo-worker", func(f vault.Fields) {
			f["policy"] = f["policy"].(string) + "\npath \"demo/machines/data/*\" { capabilities = [\"read\"] }\n"
		}},
		{"a policy that signs verbatim", "sys/policies/acl/demo-worker", func(f vault.Fields) {
			f["policy"] = f["policy"].(string) + "\npath \"demo/pki/+/sign-verbatim\" { capabilities = [\"update\"] }\npath \"demo/pki/+/sign-verbatim/*\" { capabilities = [\"update\"] }\n"
		}},
		{"a policy that makes tokens", "sys/policies/acl/demo-worker", func(f vault.Fields) {
			f["policy"] = f["policy"].(string) + "\npath \"auth/token/create\" { capabilities = [\"update\", \"sudo\"] }\n"
		}},
		{"init tokens that are good from everywhere", "auth/demo/approle/role/worker-1", func(f vault.Fields) {
			f["secret_id_bound_cidrs"], f["token_bound_cidrs"] = []string{}, []string{}
		}},
	} {
		t.Run(hole.name, func(t *testing.T) {
			fields := vault.Fields{}
			for _, o := range want.Objects {
				if o.Path == hole.path {
					for k, v := range o.Fields {
						fields[k] = v
					}
				}
			}
			if len(fields) == 0 {
				t.Fatalf("the layout has no %s", hole.path)
			}
			sound := vault.Fields{}
			for k, v := range fields {
				sound[k] = v
			}
			hole.change(fields)
			write := func(f vault.Fields) {
				err := b.AsRoot(b.ctx, func(root *vault.Client) error {
					status, answer, err := b.sender(t, b.input.OperatorAddress)(b.ctx, http.MethodPut, hole.path, root.Token(), false, f)
					if err == nil && status >= http.StatusMultipleChoices {
						err = errors.New(string(answer))
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			write(fields)
			defer write(sound)
			for seed := range uint64(400) {
				// Stolen init tokens are good once: each attempt has its own.
				i := b.intruder(t, "worker-0")
				source := mathrand.New(mathrand.NewPCG(seed, 0)) //nolint:gosec // repeatable
				prize, err := i.Run(b.ctx, source.IntN, 50)
				if err != nil {
					t.Fatal(err)
				}
				if prize != "" {
					t.Logf("after %d requests at most: %s", (seed+1)*50, prize)
					return
				}
			}
			t.Error("no sequence of 20,000 requests found it")
		})
	}
}
