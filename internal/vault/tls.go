package vault

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// tls returns a configuration that accepts a certificate which is pinned, or one that a trusted CA issued for the
// host's name. Both at once is for the moment in which a server changes from the first to the second.
func (o Options) tls() (*tls.Config, error) {
	var roots *x509.CertPool
	if o.CAs != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(o.CAs)) {
			return nil, errors.New("vault client: the trusted certificates are not PEM")
		}
	}
	if roots == nil && len(o.Pins) == 0 {
		return nil, errors.New("vault client: neither trusted certificates nor a pinned one")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if len(o.Pins) == 0 {
		return config, nil
	}
	config.InsecureSkipVerify = true //nolint:gosec // replaced by VerifyConnection, which is never skipped
	config.VerifyConnection = func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		if slices.Contains(o.Pins, sha256.Sum256(leaf.Raw)) {
			return nil
		}
		if roots == nil {
			return fmt.Errorf("%s shows a certificate with SHA-256 %x, which is not the pinned one", s.ServerName, sha256.Sum256(leaf.Raw))
		}
		opts := x509.VerifyOptions{Roots: roots, DNSName: s.ServerName, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := leaf.Verify(opts)
		return err
	}
	return config, nil
}
