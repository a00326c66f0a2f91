package vault

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// TestIssuers walks a CA through its rotation, on a real Vault: machines sign with whatever is the default, and know by
// the certificate whose it is; what was destroyed signs no more.
func TestIssuers(t *testing.T) {
	c := startCluster(t)
	worker := c.enrol("worker-0", fromA)
	kubelet := profile(t, unit.CAKubernetes, "kubelet").For("worker-0")
	csr, _ := newCSR(t)
	signedBy := func() string {
		cert, err := worker.Sign(c.ctx, kubelet, csr)
		c.must(err)
		block, _ := pem.Decode([]byte(cert.Chain))
		x, err := x509.ParseCertificate(block.Bytes)
		c.must(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(cert.CA))
		if _, err := x.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Error(err)
		}
		return hex.EncodeToString(x.AuthorityKeyId)
	}
	keyOf := func(pem string) string {
		id, err := KeyID(pem)
		c.must(err)
		return id
	}
	cas, err := c.anonymous.CAs(c.ctx)
	c.must(err)
	first := keyOf(cas[unit.CAKubernetes])
	var old string
	c.asRoot(func(root *Client) (err error) {
		old, err = root.DefaultIssuer(c.ctx, unit.CAKubernetes)
		return err
	})
	var next Issuer
	c.asRoot(func(root *Client) error {
		for range 2 { // the second time, as after a crash, makes none
			if next, err = root.EnsureIssuer(c.ctx, unit.CAKubernetes, "r-1", time.Hour*9000); err != nil {
				return err
			}
		}
		return nil
	})
	if ids, err := c.operator.Issuers(c.ctx, unit.CAKubernetes); err != nil || len(ids) != 2 {
		t.Errorf("issuers: %v, %v", ids, err)
	}
	second, err := c.anonymous.IssuerCertificate(c.ctx, unit.CAKubernetes, "r-1")
	c.must(err)
	if second != next.Certificate || keyOf(second) == first {
		t.Error("the other issuer has the key of the first, or another certificate than it is said to have")
	}
	if got := signedBy(); got != first {
		t.Errorf("before, %s signs, want %s", got, first)
	}
	c.asRoot(func(root *Client) error {
		if err := root.DestroyIssuer(c.ctx, unit.CAKubernetes, old); err == nil {
			t.Error("the issuer that signs was destroyed")
		}
		return root.SetDefaultIssuer(c.ctx, unit.CAKubernetes, next.ID)
	})
	if got := signedBy(); got != keyOf(second) {
		t.Errorf("after, %s signs, want %s", got, keyOf(second))
	}
	c.asRoot(func(root *Client) error {
		return errors.Join(root.DestroyIssuer(c.ctx, unit.CAKubernetes, old), root.DestroyIssuer(c.ctx, unit.CAKubernetes, old))
	})
	if _, err := c.anonymous.IssuerCertificate(c.ctx, unit.CAKubernetes, old); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was destroyed: %v", err)
	}
	c.asRoot(func(root *Client) error {
		if keys, err := root.list(c.ctx, "demo/pki/kubernetes/keys"); err != nil || len(keys) != 1 {
			t.Errorf("keys that are left: %v, %v", keys, err)
		}
		return nil
	})
	// All of that is no drift.
	have, err := Observe(c.ctx, c.operator, c.want)
	c.must(err)
	for _, d := range Diff(c.want, have) {
		t.Error(d)
	}
}

// TestRotationIsNotTheOperatorsEveryday: the operator's token writes the journal, and cannot do what needs the unseal keys.
func TestRotationIsNotTheOperatorsEveryday(t *testing.T) {
	c := startCluster(t)
	version, err := c.operator.WriteRotation(c.ctx, 0, Fields{"queue": []string{"kubernetes"}})
	c.must(err)
	if _, err := c.operator.WriteRotation(c.ctx, 0, Fields{}); !errors.Is(err, ErrConflict) {
		t.Errorf("a second writer: %v", err)
	}
	var journal struct{ Queue []string }
	if got, err := c.operator.ReadRotation(c.ctx, &journal); err != nil || got != version || len(journal.Queue) != 1 {
		t.Errorf("journal: version %d, %+v, %v", got, journal, err)
	}
	machine := c.enrol("worker-0", fromA)
	for what, err := range map[string]error{
		"another issuer":        second(c.operator.EnsureIssuer(c.ctx, unit.CAKubernetes, "mine", time.Hour)),
		"who signs":             c.operator.SetDefaultIssuer(c.ctx, unit.CAKubernetes, "default"),
		"a key destroyed":       c.operator.DestroySecret(c.ctx, ServiceAccountDocument),
		"a transit key rotated": c.operator.RotateTransit(c.ctx, TransitKey, 2),
		"a version retired":     c.operator.ForgetTransit(c.ctx, TransitKey, 1),
		"machine: the journal":  second(machine.WriteRotation(c.ctx, 1, Fields{})),
		"machine: a successor":  second(machine.ReadSecret(c.ctx, ServiceAccountDocument+"/x")),
	} {
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestKeysThatAreNoCAs: a successor of the ServiceAccount key, and another version of the transit key.
func TestKeysThatAreNoCAs(t *testing.T) {
	c := startCluster(t)
	apiServer := c.enrol("control-plane-0", fromCP)
	const successor = ServiceAccountDocument + "/r-1"
	sealed, err := apiServer.TransitEncrypt(c.ctx, TransitKey, []byte("word"))
	c.must(err)
	c.asRoot(func(root *Client) error {
		return errors.Join(root.EnsureServiceAccountKey(c.ctx, successor), root.RotateTransit(c.ctx, TransitKey, 2), root.RotateTransit(c.ctx, TransitKey, 2))
	})
	if latest, oldest, err := c.operator.TransitVersions(c.ctx, TransitKey); err != nil || latest != 2 || oldest != 1 {
		t.Errorf("versions %d to %d, %v", oldest, latest, err)
	}
	a, err := apiServer.ReadSecret(c.ctx, ServiceAccountDocument)
	c.must(err)
	b, err := apiServer.ReadSecret(c.ctx, successor)
	c.must(err)
	if a[ServiceAccountKey] == b[ServiceAccountKey] || b[ServiceAccountPublic] == "" {
		t.Error("the successor is the same key, or none")
	}
	if got, err := apiServer.TransitDecrypt(c.ctx, TransitKey, sealed); err != nil || string(got) != "word" {
		t.Errorf("what the old version sealed: %q, %v", got, err)
	}
	c.asRoot(func(root *Client) error {
		return errors.Join(root.ForgetTransit(c.ctx, TransitKey, 2), root.DestroySecret(c.ctx, ServiceAccountDocument), root.DestroySecret(c.ctx, "none"))
	})
	if _, err := apiServer.TransitDecrypt(c.ctx, TransitKey, sealed); err == nil {
		t.Error("a retired version still decrypts")
	}
	if _, err := apiServer.ReadSecret(c.ctx, ServiceAccountDocument); !errors.Is(err, ErrNotFound) {
		t.Errorf("the destroyed key: %v", err)
	}
}
