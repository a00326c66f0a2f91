package phase

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

// revokeTaken takes certificates back that are at hand, and does not wait until it is known everywhere.
func (c *Cluster) revokeTaken(ctx context.Context, taken []claim.Taken) error {
	now := time.Now()
	certs, err := c.takeBack(ctx, taken, now)
	if err != nil {
		return err
	}
	list, err := c.changeRevoked(ctx, now, func(r *unit.Revoked) { r.Credentials = addRevocations(r.Credentials, certs) })
	if err != nil {
		return err
	}
	_, err = c.write(ctx, list)
	return err
}

// forgetTaken leaves certificates revoked in Vault, and nowhere else.
func (c *Cluster) forgetTaken(ctx context.Context, taken []claim.Taken) error {
	now := time.Now()
	certs, err := c.takeBack(ctx, taken, now)
	if err != nil {
		return err
	}
	list, err := c.changeRevoked(ctx, now, func(r *unit.Revoked) {
		r.Credentials = slices.DeleteFunc(r.Credentials, func(have unit.Revocation) bool {
			return slices.ContainsFunc(certs, func(c unit.Revocation) bool { return c.CA == have.CA && c.Serial == have.Serial })
		})
	})
	if err != nil {
		return err
	}
	_, err = c.tell(ctx, list, now)
	return err
}

func (c *Cluster) takeBack(ctx context.Context, taken []claim.Taken, now time.Time) ([]unit.Revocation, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	var out []unit.Revocation
	for _, t := range taken {
		block, _ := pem.Decode([]byte(t.Certificate))
		if block == nil {
			return nil, errors.New("what is to be taken back is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if err := v.RevokeCertificate(ctx, t.CA, t.Certificate); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(cert.Raw)
		out = append(out, unit.Revocation{CA: t.CA, Serial: audit.Colons(cert), SHA256: hex.EncodeToString(sum[:]), Name: cert.Subject.CommonName,
			Reason: "an attack of `ashlar verify`", At: now.UTC(), Until: cert.NotAfter.UTC(), Sever: t.Sever})
	}
	return out, nil
}
