package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/internal/unit"
)

func TestInitTokenWorksOnceAndAtHome(t *testing.T) {
	c := startCluster(t)
	issue := func() string {
		token, err := c.operator.IssueInitToken(c.ctx, "worker-0", c.input.InitTokenTTL)
		c.must(err)
		return token
	}
	login := func(source, machine, token string) error {
		_, _, err := c.client(source, "").LoginMachine(c.ctx, machine, token)
		return err
	}
	token := issue()
	c.must(login(fromA, "worker-0", token))
	if err := login(fromA, "worker-0", token); !errors.Is(err, ErrInitTokenUsed) {
		t.Errorf("used twice: %v", err)
	}
	if err := login(fromB, "worker-0", issue()); err == nil {
		t.Error("used from another machine")
	}
	if err := login(fromB, "worker-1", issue()); err == nil {
		t.Error("used as another machine")
	}
	if err := login(fromA, "worker-0", "hvs.nonsense"); !errors.Is(err, ErrInitTokenUsed) {
		t.Errorf("nonsense: %v", err)
	}
	// The secret_id itself, once unwrapped, is just as short of uses.
	secret, err := c.client(fromA, "").unwrap(c.ctx, issue())
	c.must(err)
	if _, _, err := c.client(fromB, "").LoginAppRole(c.ctx, "demo-worker-0", secret); err == nil {
		t.Error("a stolen secret_id works elsewhere")
	}
	if _, _, err := c.client(fromA, "").LoginAppRole(c.ctx, "demo-worker-0", secret); err == nil {
		t.Error("the attempt of a thief went unnoticed: it should have used the secret_id up")
	}
	short, err := c.operator.IssueInitToken(c.ctx, "worker-0", time.Second)
	c.must(err)
	c.eventually("the init token expires", func() bool {
		return c.anonymous.put(c.ctx, "sys/wrapping/lookup", Fields{"token": short}, nil) != nil
	})
	if err := login(fromA, "worker-0", short); !errors.Is(err, ErrInitTokenUsed) {
		t.Errorf("after its time: %v", err)
	}
}

func TestDocumentsAreCheckedAndSet(t *testing.T) {
	c := startCluster(t)
	type doc struct{ N int64 }
	const large = int64(10 * 365 * 24 * time.Hour)
	worker := c.enrol("worker-0", fromA)
	var got doc
	if v, err := worker.ReadDocument(c.ctx, "worker-0", Desired, &got); v != 0 || err != nil {
		t.Errorf("none yet: %d, %v", v, err)
	}
	v, err := c.operator.WriteDocument(c.ctx, "worker-0", Desired, 0, doc{large})
	c.must(err)
	if _, err := c.operator.WriteDocument(c.ctx, "worker-0", Desired, 0, doc{2}); !errors.Is(err, ErrConflict) {
		t.Errorf("written twice: %v", err)
	}
	if w, err := worker.ReadDocument(c.ctx, "worker-0", Desired, &got); err != nil || w != v || got.N != large {
		t.Errorf("read version %d, %v, %v", w, got, err)
	}
	cp := c.enrol("control-plane-0", fromCP)
	before, err := cp.ReadSecret(c.ctx, ServiceAccountDocument)
	c.must(err)
	c.must(c.operator.EnsureServiceAccountKey(c.ctx, ServiceAccountDocument))
	after, err := cp.ReadSecret(c.ctx, ServiceAccountDocument)
	c.must(err)
	if diff := cmp.Diff(before, after); diff != "" || len(before[ServiceAccountKey]) == 0 || len(before[ServiceAccountPublic]) == 0 {
		t.Error("the ServiceAccount key was replaced, or is empty")
	}
	var sealed struct{ Ciphertext, Plaintext string }
	secret := base64.StdEncoding.EncodeToString([]byte("secret"))
	c.must(cp.put(c.ctx, TransitPath("demo")+"/encrypt/"+TransitKey, Fields{"plaintext": secret}, &sealed))
	c.must(cp.put(c.ctx, TransitPath("demo")+"/decrypt/"+TransitKey, Fields{"ciphertext": sealed.Ciphertext}, &sealed))
	if sealed.Plaintext != secret {
		t.Error("transit returns something else")
	}
	if _, err := cp.RenewSelf(c.ctx); err != nil {
		t.Error(err)
	}
	c.must(cp.RevokeSelf(c.ctx))
	c.must(cp.RevokeSelf(c.ctx))
	if _, err := cp.ReadSecret(c.ctx, ServiceAccountDocument); !errors.Is(err, ErrDenied) {
		t.Errorf("a revoked token: %v", err)
	}
}

// TestServerTakesItsCertificateFromItself changes the listener's certificate from the bootstrap one to Vault's own.
func TestServerTakesItsCertificateFromItself(t *testing.T) {
	c := startCluster(t)
	csr, key := newCSR(t)
	p := profile(t, unit.CAVault, "vault").For("vault-0")
	cert, err := c.enrol("vault-0", fromVault).Sign(c.ctx, p, csr)
	c.must(err)
	trusting := c.client(fromOperator, cert.CA)
	if _, err := trusting.Status(c.ctx); err == nil {
		t.Error("the self-signed certificate is trusted by the CA")
	}
	c.install(cert.Chain, key)
	c.reload()
	c.eventually("the new certificate is served", func() bool { _, err := trusting.Status(c.ctx); return err == nil })
	if _, err := c.client(fromOperator, "").Status(c.ctx); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("the pin accepts another certificate: %v", err)
	}
	both, err := New(Options{Addresses: []string{"vault-0:8200"}, CAs: cert.CA, Pins: [][32]byte{c.pin},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, c.address)
		}})
	c.must(err)
	defer both.Close()
	if _, err := both.Status(c.ctx); err != nil {
		t.Errorf("pin or CA: %v", err)
	}
}

// TestAuditNamesWhoGotWhat finds a certificate's serial and its machine in both logs, and no secret.
func TestAuditNamesWhoGotWhat(t *testing.T) {
	c := startCluster(t)
	csr, _ := newCSR(t)
	worker := c.enrol("worker-0", fromA)
	cert, err := worker.Sign(c.ctx, profile(t, unit.CAKubernetes, "kubelet").For("worker-0"), csr)
	c.must(err)
	for _, name := range []string{"audit-1.log", "audit-2.log"} {
		log, err := os.ReadFile(filepath.Join(c.dir, name))
		c.must(err)
		if !slices.ContainsFunc(strings.Split(string(log), "\n"), func(line string) bool {
			return strings.Contains(line, cert.Serial) && strings.Contains(line, "worker-0")
		}) {
			t.Errorf("%s does not say that worker-0 got %s", name, cert.Serial)
		}
		if strings.Contains(string(log), worker.Token()) {
			t.Errorf("%s holds a token", name)
		}
	}
}

// TestMastersLeaveNoRole: system:masters is signed once for root, and nothing is left that could do it again.
func TestMastersLeaveNoRole(t *testing.T) {
	c := startCluster(t)
	csr, _ := newCSR(t)
	c.asRoot(func(root *Client) error {
		cert, err := root.SignMasters(c.ctx, csr)
		if left := time.Until(cert.NotAfter); left > mastersTTL {
			t.Errorf("lives %s", left)
		}
		return err
	})
	if d := c.drift(); len(d) > 0 {
		t.Errorf("left: %v", d)
	}
	if _, err := c.operator.SignMasters(c.ctx, csr); !errors.Is(err, ErrDenied) {
		t.Errorf("the operator: %v", err)
	}
}
