package phase

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestGoesByKey: a disk goes by a CA that it trusts, alone or beside another, or whose certificate it has.
func TestGoesByKey(t *testing.T) {
	signer := func() ssh.Signer {
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
	public := func(s ssh.Signer) string { return string(ssh.MarshalAuthorizedKey(s.PublicKey())) }
	ca, other := signer(), signer()
	certificate := func(by ssh.Signer) string {
		c := &ssh.Certificate{Key: signer().PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"worker-0"}, ValidBefore: ssh.CertTimeInfinity}
		if err := c.SignCert(rand.Reader, by); err != nil {
			t.Fatal(err)
		}
		return string(ssh.MarshalAuthorizedKey(c))
	}
	for _, test := range []struct {
		file string
		want bool
	}{{public(ca), true}, {public(other) + public(ca), true}, {certificate(ca), true}, {public(other), false}, {certificate(other), false}, {"", false}} {
		if got := goesByKey(test.file, public(ca)); got != test.want {
			t.Errorf("%q goes by the CA: %t", test.file, got)
		}
	}
}
