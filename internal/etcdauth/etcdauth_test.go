package etcdauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/internal/testserver"
)

// scratch is an etcd of a test's own, with TLS and client certificates.
type scratch struct {
	dir, endpoint string
	ca            *x509.Certificate
	key           *ecdsa.PrivateKey
}

func startEtcd(t *testing.T) *scratch {
	t.Helper()
	testserver.Bin(t, "etcd")
	s := &scratch{dir: t.TempDir()}
	s.key, s.ca = certify(t, nil, nil, "ca")
	writePEM(t, s.path("ca.crt"), "CERTIFICATE", s.ca.Raw)
	s.issue(t, "server")
	s.endpoint = testserver.Etcd(t, "https", "--client-cert-auth", "--trusted-ca-file="+s.path("ca.crt"),
		"--cert-file="+s.path("server.crt"), "--key-file="+s.path("server.key"))
	return s
}

func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

// issue writes <name>.crt and <name>.key with that common name.
func (s *scratch) issue(t *testing.T, name string) {
	t.Helper()
	key, certificate := certify(t, s.ca, s.key, name)
	writePEM(t, s.path(name+".crt"), "CERTIFICATE", certificate.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, s.path(name+".key"), "PRIVATE KEY", der)
}

// client connects as a common name.
func (s *scratch) client(t *testing.T, name string) *clientv3.Client {
	t.Helper()
	t.Setenv("ETCD_CLIENT_DEBUG", "fatal") // the tests provoke refusals; the client would log each
	s.issue(t, name)
	pair, err := tls.LoadX509KeyPair(s.path(name+".crt"), s.path(name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.ca)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, DialTimeout: 10 * time.Second,
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func certify(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, name string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	testserver.Write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
