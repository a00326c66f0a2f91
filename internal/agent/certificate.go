package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// loadCertificate reads a certificate with its key; nil if there are none that can be used.
func loadCertificate(p unit.Profile) (*x509.Certificate, error) {
	cert, err := os.ReadFile(p.CertFile())
	if err == nil {
		var key []byte
		if key, err = os.ReadFile(p.KeyFile()); err == nil {
			return usable(cert, key), nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// usable is the certificate of a pair, if it is one. It is none after a crash between the two files of install, or
// when somebody damaged one of them.
func usable(certPEM, keyPEM []byte) *x509.Certificate {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil
	}
	return pair.Leaf
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
		CA: p.CA, Name: p.Name, Subject: c.Subject.String(), Serial: colons(c.SerialNumber), Issuer: hex.EncodeToString(c.AuthorityKeyId),
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
