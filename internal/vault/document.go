package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// Documents of a machine.
const (
	Desired = "desired" // written by `ashlar up`, read by that machine alone
	Status  = "status"  // written by that machine alone
)

// document is how Vault keeps one: as one text, since it would write the hash of each string in it to its audit logs.
type document struct {
	Document string `json:"document"`
}

// ReadDocument reads a machine's document into out, and returns its version; 0 if there is none.
func (c *Client) ReadDocument(ctx context.Context, machine, name string, out any) (version int, err error) {
	var d document
	version, err = c.readKV(ctx, DocumentPath(c.cluster, machine, name), &d)
	if err == nil && d.Document != "" { // an older ashlar wrote it otherwise: that counts as empty, and is written anew
		err = json.Unmarshal([]byte(d.Document), out)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, machine, err)
	}
	return version, nil
}

// DocumentVersion is the newest version of a machine's document; 0 if there is none.
func (c *Client) DocumentVersion(ctx context.Context, machine, name string) (int, error) {
	var out struct {
		Version int `json:"current_version"`
	}
	err := c.get(ctx, documentMetadataPath(c.cluster, machine, name), &out)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, fmt.Errorf("ask for the version of %s of %s: %w", name, machine, err)
	}
	return out.Version, nil
}

// WriteDocument replaces version of a machine's document (0: there must be none yet) and returns the new version.
// If somebody was faster, the error is ErrConflict.
func (c *Client) WriteDocument(ctx context.Context, machine, name string, version int, content any) (int, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return 0, fmt.Errorf("write %s of %s: %w", name, machine, err)
	}
	v, err := c.writeKV(ctx, DocumentPath(c.cluster, machine, name), version, document{string(text)})
	if err != nil {
		return 0, fmt.Errorf("write %s of %s: %w", name, machine, err)
	}
	return v, nil
}

// ReadSecret returns the fields of a secret document (unit.Secret). They are secrets.
func (c *Client) ReadSecret(ctx context.Context, document string) (map[string]string, error) {
	var out map[string]string
	version, err := c.readKV(ctx, SecretPath(c.cluster, document), &out)
	if err == nil && version == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret %s: %w", document, err)
	}
	return out, nil
}

// The document that holds the key with which API servers sign ServiceAccount tokens, and its fields (PEM).
const (
	ServiceAccountDocument = "service-account"
	ServiceAccountKey      = "key" // PKCS #8
	ServiceAccountPublic   = "pub" // PKIX
)

// EnsureServiceAccountKey makes the key pair that signs ServiceAccount tokens, unless there is one in the document. The
// API servers must share it, so it is the one key that is stored in Vault instead of staying where it was made.
func (c *Client) EnsureServiceAccountKey(ctx context.Context, document string) error {
	err := c.get(ctx, c.cluster+"/secrets/metadata/"+document, &struct{}{})
	if err == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	fields, err := newKeyPair()
	if err != nil {
		return fmt.Errorf("make the ServiceAccount key: %w", err)
	}
	_, err = c.writeKV(ctx, SecretPath(c.cluster, document), 0, fields)
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("store the ServiceAccount key: %w", err)
	}
	return nil
}

func newKeyPair() (map[string]string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		ServiceAccountKey:    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		ServiceAccountPublic: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}, nil
}

// metadata is the part of a KV version 2 answer that says which version it is.
type metadata struct {
	Version int `json:"version"`
}

func (c *Client) readKV(ctx context.Context, path string, out any) (int, error) {
	var kv struct {
		Data     json.RawMessage `json:"data"`
		Metadata metadata        `json:"metadata"`
	}
	err := c.get(ctx, path, &kv)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(kv.Data, out); err != nil {
		return 0, fmt.Errorf("decode: %w", err)
	}
	return kv.Metadata.Version, nil
}

func (c *Client) writeKV(ctx context.Context, path string, version int, data any) (int, error) {
	var out metadata
	err := c.put(ctx, path, map[string]any{"data": data, "options": map[string]any{"cas": version}}, &out)
	return out.Version, err
}
