package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// RenewAt is when a certificate is renewed: at half of its life, give or take a tenth by its serial number,
// so that certificates that were issued together are not renewed together.
func RenewAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	var b [8]byte
	copy(b[:], c.SerialNumber.Bytes())
	jitter := float64(binary.BigEndian.Uint64(b[:]))/(1<<64) - 0.5 // -0.5 … 0.5
	return c.NotBefore.Add(life/2 + time.Duration(jitter*float64(life)/5))
}

// due says why a new certificate is needed now; empty if it is not.
func due(have *x509.Certificate, want unit.Certificate, trusted string, now time.Time) string {
	p := want.Profile
	switch {
	case have == nil:
		return "there is none"
	case !now.Before(have.NotAfter):
		return "it has expired"
	case have.NotBefore.After(now.Add(time.Minute)):
		return "it is not valid yet"
	case have.Subject.CommonName != p.CommonName:
		return "it is for " + have.Subject.CommonName
	case !sameStrings(have.Subject.Organization, p.Organizations):
		return "its organizations differ"
	case !containsAll(have.DNSNames, p.DNSNames):
		return "it lacks a name"
	case !issuedBy(have, trusted):
		return "its CA is not trusted any more"
	case !now.Before(RenewAt(have)):
		return "half of its life is over"
	}
	for _, ip := range want.IPs {
		if !slices.ContainsFunc(have.IPAddresses, func(h net.IP) bool { return h.String() == ip }) {
			return "it lacks the address " + ip
		}
	}
	return ""
}

func sameStrings(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func containsAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}

func issuedBy(c *x509.Certificate, trusted string) bool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(trusted))
	_, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: c.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// loadCertificate reads a certificate whose key is there, too; nil if there is none to be used.
func loadCertificate(p unit.Profile) (*x509.Certificate, error) {
	b, err := os.ReadFile(p.CertFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.KeyFile()); err != nil {
		return nil, nil
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, nil
	}
	return x509.ParseCertificate(block.Bytes)
}

// newKey makes a key on this machine, where it stays.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// request is a CSR that carries a key and nothing else: names are Vault's to decide.
func request(key *ecdsa.PrivateKey, commonName string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// install puts a key and its certificate in place. Readers that open one between the two renames see a
// mismatch and try again at the next handshake; the old pair is gone only when the new one is whole.
func install(p unit.Profile, certPEM, keyPEM []byte) error {
	if err := writeFile(p.KeyFile(), keyPEM, 0o600); err != nil {
		return fmt.Errorf("install the key of %s/%s: %w", p.CA, p.Name, err)
	}
	if err := writeFile(p.CertFile(), certPEM, 0o644); err != nil {
		return fmt.Errorf("install certificate %s/%s: %w", p.CA, p.Name, err)
	}
	return nil
}

// bootstrapCertificate lets the first Vault listen before there is a CA. It is its own root, good for an hour,
// and trusted by nobody but this machine and `up`, which reads it off the machine's disk and pins it.
func bootstrapCertificate(p unit.Profile, now time.Time) error {
	if have, err := loadCertificate(p); err == nil && have != nil && now.Before(have.NotAfter) {
		return nil
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: p.CommonName}, DNSNames: p.DNSNames,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	return install(p, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM)
}

// describe is what status says of a certificate.
func describe(p unit.Profile, c *x509.Certificate) CertificateStatus {
	return CertificateStatus{
		CA: p.CA, Name: p.Name, Subject: c.Subject.String(), Serial: colons(c.SerialNumber),
		NotAfter: c.NotAfter, Renew: RenewAt(c),
	}
}

// colons writes a serial number as Vault does.
func colons(n *big.Int) string {
	var parts []string
	for _, b := range n.Bytes() {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}
