package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestUsable damages a pair in every way that a crash or a careless hand can. A pair that is none must count as
// missing, not as an error: an error would keep the agent from getting a new one.
func TestUsable(t *testing.T) {
	root := newAuthority(t, epoch, epoch.Add(decade))
	cert, key := root.sign(t, leafTemplate(epoch))
	_, otherKey := root.sign(t, leafTemplate(epoch))
	for _, c := range []struct {
		name      string
		cert, key string
		want      bool
	}{
		{"whole", cert, key, true},
		{"whole, with its CA after it", cert + root.pem, key, true},
		{"no certificate", "", key, false},
		{"no key", cert, "", false},
		{"text instead of a certificate", "to be done", key, false},
		{"PEM of something else", pemOf("CERTIFICATE", "not DER"), key, false},
		{"half a certificate", cert[:len(cert)/2], key, false},
		{"half a key", cert, key[:len(key)/2], false},
		{"a new key beside the old certificate, as after a crash in install", cert, otherKey, false},
		{"another's certificate", root.pem, key, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := usable([]byte(c.cert), []byte(c.key)); (got != nil) != c.want {
				t.Errorf("got %v, want one: %t", got, c.want)
			}
		})
	}
}

// TestRequest: a CSR says who asks and nothing else, and is signed by a key of the one kind that Vault accepts.
func TestRequest(t *testing.T) {
	key, keyPEM, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := request(key, "worker-0")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Error(err)
	}
	if csr.Subject.String() != "CN=worker-0" || len(csr.Extensions) > 0 {
		t.Errorf("it asks as %s, with extensions %v", csr.Subject, csr.Extensions)
	}
	block, _ = pem.Decode(keyPEM)
	kept, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := kept.(*ecdsa.PrivateKey); !ok || k.Curve != elliptic.P256() || !k.PublicKey.Equal(csr.PublicKey) {
		t.Errorf("the kept key %T is not the CSR's on P-256", kept)
	}
}

// TestColons: whatever its number, a certificate is found in Vault's log by what status says.
func TestColons(t *testing.T) {
	if got := colons(big.NewInt(0x0a0b0c)); got != "0a:0b:0c" {
		t.Errorf("got %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "serial"))
		text := colons(n)
		back, ok := new(big.Int).SetString("0"+strings.ReplaceAll(text, ":", ""), 16)
		if !ok || back.Cmp(n) != 0 {
			t.Fatalf("%x is written %q", n, text)
		}
		if slices.ContainsFunc(strings.Split(text, ":"), func(s string) bool { return len(s) != 2 && n.Sign() > 0 }) {
			t.Fatalf("%q is not as Vault writes it", text)
		}
	})
}
