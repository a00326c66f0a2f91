package vault

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Issuer is one key pair of a CA. A CA has one, but while it is rotated.
type Issuer struct {
	// ID is how Vault names it.
	ID string
	// Certificate is its own, as PEM.
	Certificate string
	key         string
}

// Issuer returns an issuer of a CA by id or name. What is public of it needs no token.
func (c *Client) Issuer(ctx context.Context, ca unit.CA, ref string) (Issuer, error) {
	var out struct {
		ID          string `json:"issuer_id"`
		Certificate string `json:"certificate"`
		Key         string `json:"key_id"`
	}
	path := PKIPath(c.cluster, ca) + "/issuer/" + ref
	if c.token == "" {
		path += "/json"
	}
	if err := c.get(ctx, path, &out); err != nil {
		if refused := (*Error)(nil); errors.As(err, &refused) && refused.says("unable to find PKI issuer") {
			err = ErrNotFound
		}
		return Issuer{}, fmt.Errorf("read issuer %s of CA %s: %w", ref, ca, err)
	}
	return Issuer{ID: out.ID, Certificate: strings.TrimSpace(out.Certificate) + "\n", key: out.Key}, nil
}

// IssuerCertificate returns the certificate of an issuer, as PEM.
func (c *Client) IssuerCertificate(ctx context.Context, ca unit.CA, ref string) (string, error) {
	i, err := c.WithToken("").Issuer(ctx, ca, ref)
	return i.Certificate, err
}

// Issuers names the issuers of a CA.
func (c *Client) Issuers(ctx context.Context, ca unit.CA) ([]string, error) {
	ids, err := c.list(ctx, PKIPath(c.cluster, ca)+"/issuers")
	if err != nil {
		return nil, fmt.Errorf("list the issuers of CA %s: %w", ca, err)
	}
	return ids, nil
}

// DefaultIssuer is the one that signs. It needs a root token, as all that follows; see WithRoot.
func (c *Client) DefaultIssuer(ctx context.Context, ca unit.CA) (string, error) {
	var out struct {
		Default string `json:"default"`
	}
	if err := c.get(ctx, PKIPath(c.cluster, ca)+"/config/issuers", &out); err != nil {
		return "", fmt.Errorf("read which issuer of CA %s signs: %w", ca, err)
	}
	return out.Default, nil
}

// EnsureIssuer makes another issuer of a CA, with a key of its own, under a name; unless it is there. It signs nothing
// until it is made the default.
func (c *Client) EnsureIssuer(ctx context.Context, ca unit.CA, name string, ttl time.Duration) (Issuer, error) {
	have, err := c.Issuer(ctx, ca, name)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return have, err
	}
	body := map[string]any{"issuer_name": name, "common_name": c.cluster + " " + string(ca), "key_type": "ec", "key_bits": 256, "ttl": seconds(ttl)}
	if err := c.put(ctx, PKIPath(c.cluster, ca)+"/root/rotate/internal", body, nil); err != nil {
		return Issuer{}, fmt.Errorf("make another issuer of CA %s: %w", ca, err)
	}
	return c.Issuer(ctx, ca, name)
}

// SetDefaultIssuer makes an issuer the one that signs, whoever asks.
func (c *Client) SetDefaultIssuer(ctx context.Context, ca unit.CA, ref string) error {
	body := map[string]any{"default": ref, "default_follows_latest_issuer": false}
	if err := c.put(ctx, PKIPath(c.cluster, ca)+"/config/issuers", body, nil); err != nil {
		return fmt.Errorf("have issuer %s of CA %s sign: %w", ref, ca, err)
	}
	return nil
}

// DestroyIssuer destroys an issuer with its key: nobody can ever sign with it again. It need not be there, and must not
// be the one that signs.
func (c *Client) DestroyIssuer(ctx context.Context, ca unit.CA, ref string) error {
	i, err := c.Issuer(ctx, ca, ref)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil {
		signs, err := c.DefaultIssuer(ctx, ca)
		if err != nil {
			return err
		}
		if signs == i.ID {
			return fmt.Errorf("destroy issuer %s of CA %s: it is the one that signs", ref, ca)
		}
		if err := c.remove(ctx, PKIPath(c.cluster, ca)+"/issuer/"+i.ID); err != nil {
			return fmt.Errorf("destroy issuer %s of CA %s: %w", ref, ca, err)
		}
	}
	return c.destroyOrphans(ctx, ca)
}

// destroyOrphans destroys the keys of a CA that are no issuer's, also those that a crash left.
func (c *Client) destroyOrphans(ctx context.Context, ca unit.CA) error {
	keys, err := c.list(ctx, PKIPath(c.cluster, ca)+"/keys")
	if err != nil {
		return fmt.Errorf("list the keys of CA %s: %w", ca, err)
	}
	ids, err := c.Issuers(ctx, ca)
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, id := range ids {
		i, err := c.Issuer(ctx, ca, id)
		if err != nil {
			return err
		}
		used[i.key] = true
	}
	for _, key := range keys {
		if used[key] {
			continue
		}
		if err := c.remove(ctx, PKIPath(c.cluster, ca)+"/key/"+key); err != nil {
			return fmt.Errorf("destroy key %s of CA %s: %w", key, ca, err)
		}
	}
	return nil
}

// KeyID is what certificates say of the key that signed them, and a CA's of its own: in hexadecimal.
func KeyID(caPEM string) (string, error) {
	block, _ := pem.Decode([]byte(caPEM))
	if block == nil {
		return "", errors.New("the CA's certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("the CA's certificate: %w", err)
	}
	return hex.EncodeToString(cert.SubjectKeyId), nil
}

// RotationDocument is the journal of rotations.
const RotationDocument = "rotation"

// ReadRotation reads the journal of rotations into out, and returns its version; 0 if there is none.
func (c *Client) ReadRotation(ctx context.Context, out any) (int, error) {
	version, err := c.readKV(ctx, SecretPath(c.cluster, RotationDocument), out)
	if err != nil {
		return 0, fmt.Errorf("read the journal of rotations: %w", err)
	}
	return version, nil
}

// WriteRotation replaces a version of the journal. If somebody was faster, the error is ErrConflict.
func (c *Client) WriteRotation(ctx context.Context, version int, journal any) (int, error) {
	v, err := c.writeKV(ctx, SecretPath(c.cluster, RotationDocument), version, journal)
	if err != nil {
		return 0, fmt.Errorf("write the journal of rotations: %w", err)
	}
	return v, nil
}

// DestroySecret destroys a secret document with all its versions; it need not be there.
func (c *Client) DestroySecret(ctx context.Context, document string) error {
	if err := c.remove(ctx, c.cluster+"/secrets/metadata/"+document); err != nil {
		return fmt.Errorf("destroy the secret %s: %w", document, err)
	}
	return nil
}

// TransitVersions returns the newest version of a transit key, and the oldest that still decrypts.
func (c *Client) TransitVersions(ctx context.Context, key string) (latest, oldest int, err error) {
	var out struct {
		Latest int `json:"latest_version"`
		Oldest int `json:"min_decryption_version"`
	}
	if err := c.get(ctx, TransitPath(c.cluster)+"/keys/"+key, &out); err != nil {
		return 0, 0, fmt.Errorf("read the versions of transit key %s: %w", key, err)
	}
	return out.Latest, out.Oldest, nil
}

// RotateTransit gives a transit key its version, unless it has it.
func (c *Client) RotateTransit(ctx context.Context, key string, version int) error {
	latest, _, err := c.TransitVersions(ctx, key)
	if err != nil || latest >= version {
		return err
	}
	if err := c.put(ctx, TransitPath(c.cluster)+"/keys/"+key+"/rotate", map[string]any{}, nil); err != nil {
		return fmt.Errorf("rotate transit key %s: %w", key, err)
	}
	return nil
}

// ForgetTransit has a transit key decrypt with no version older than the given one.
func (c *Client) ForgetTransit(ctx context.Context, key string, version int) error {
	body := map[string]any{"min_decryption_version": version}
	if err := c.put(ctx, TransitPath(c.cluster)+"/keys/"+key+"/config", body, nil); err != nil {
		return fmt.Errorf("retire old versions of transit key %s: %w", key, err)
	}
	return nil
}
