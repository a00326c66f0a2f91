package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/unit"
)

// Certificate is what Vault makes of a CSR.
type Certificate struct {
	// Chain is the certificate as PEM, followed by intermediate ones if there are any; the root is not part of it.
	Chain string
	// CA is the certificate of the issuer, as PEM.
	CA string
	// Serial is as Vault writes it: bytes in hexadecimal, with a colon between.
	Serial   string
	NotAfter time.Time
}

// Sign has a CSR (PEM) signed under a profile, which must be filled in for the caller (Profile.For). Of the CSR only
// the key is used. ips goes into the certificate where the profile permits it.
func (c *Client) Sign(ctx context.Context, p unit.Profile, csr string, ips ...string) (Certificate, error) {
	body := map[string]any{
		"csr":         csr,
		"common_name": p.CommonName,
		// Otherwise a common name such as "root" would become a DNS name as well.
		"exclude_cn_from_sans": true,
	}
	if len(p.DNSNames) > 0 {
		body["alt_names"] = strings.Join(p.DNSNames, ",")
	}
	if len(ips) > 0 {
		body["ip_sans"] = strings.Join(ips, ",")
	}
	var out struct {
		Certificate string      `json:"certificate"`
		IssuingCA   string      `json:"issuing_ca"`
		Serial      string      `json:"serial_number"`
		Expiration  json.Number `json:"expiration"`
	}
	if err := c.put(ctx, PKIPath(c.cluster, p.CA)+"/sign/"+p.Name, body, &out); err != nil {
		return Certificate{}, fmt.Errorf("sign the %s certificate %s: %w", p.CA, p.Name, err)
	}
	expires, err := out.Expiration.Int64()
	if err != nil {
		return Certificate{}, fmt.Errorf("sign the %s certificate %s: expiration: %w", p.CA, p.Name, err)
	}
	return Certificate{
		Chain:    strings.TrimSpace(out.Certificate) + "\n",
		CA:       strings.TrimSpace(out.IssuingCA) + "\n",
		Serial:   out.Serial,
		NotAfter: time.Unix(expires, 0),
	}, nil
}

// Revoke puts a certificate on its CA's revocation list. One that was revoked before is not an error.
func (c *Client) Revoke(ctx context.Context, ca unit.CA, serial string) error {
	if err := c.put(ctx, PKIPath(c.cluster, ca)+"/revoke", map[string]any{"serial_number": serial}, nil); err != nil {
		return fmt.Errorf("revoke the %s certificate %s: %w", ca, serial, err)
	}
	return nil
}

// Kept returns the certificates of a CA that Vault still has, as PEM.
func (c *Client) Kept(ctx context.Context, ca unit.CA) ([]string, error) {
	serials, err := c.Issued(ctx, ca)
	if err != nil {
		return nil, err
	}
	return gather(ctx, serials, func(ctx context.Context, serial string) ([]string, error) {
		text, err := c.StoredCertificate(ctx, ca, serial)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // it has expired meanwhile
		}
		return []string{text}, err
	})
}

// CAs returns the trusted certificate of every CA, as PEM. No token is needed: they are public.
func (c *Client) CAs(ctx context.Context) (map[unit.CA]string, error) {
	certs := make([]string, len(unit.CAs))
	g, ctx := errgroup.WithContext(ctx)
	for i, ca := range unit.CAs {
		g.Go(func() error {
			cert, err := c.caCertificate(ctx, PKIPath(c.cluster, ca))
			if err == nil && cert == "" {
				err = fmt.Errorf("CA %s: %w", ca, ErrNotFound)
			}
			certs[i] = cert
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read the CAs: %w", err)
	}
	out := map[unit.CA]string{}
	for i, ca := range unit.CAs {
		out[ca] = certs[i]
	}
	return out, nil
}

// caCertificate returns a mount's CA certificate, empty if it has none yet.
func (c *Client) caCertificate(ctx context.Context, mount string) (string, error) {
	var out struct{ Certificate string }
	err := c.get(ctx, mount+"/cert/ca", &out)
	var refused *Error
	if errors.As(err, &refused) && refused.says("no default issuer") {
		return "", nil // whoever was about to make it was interrupted
	}
	if err != nil {
		return "", err
	}
	if out.Certificate == "" {
		return "", nil
	}
	return strings.TrimSpace(out.Certificate) + "\n", nil
}
