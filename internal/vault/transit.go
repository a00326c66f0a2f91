package vault

import (
	"context"
	"encoding/base64"
	"fmt"
)

// TransitEncrypt seals plaintext with the newest version of a transit key; the answer begins with "vault:v<version>:".
func (c *Client) TransitEncrypt(ctx context.Context, key string, plaintext []byte) (string, error) {
	var out struct{ Ciphertext string }
	body := map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plaintext)}
	if err := c.put(ctx, TransitPath(c.cluster)+"/encrypt/"+key, body, &out); err != nil {
		return "", fmt.Errorf("encrypt with transit key %s: %w", key, err)
	}
	return out.Ciphertext, nil
}

// TransitDecrypt opens what any version of a transit key has sealed.
func (c *Client) TransitDecrypt(ctx context.Context, key, ciphertext string) ([]byte, error) {
	var out struct{ Plaintext []byte } // base64 in JSON, as Vault has it
	body := map[string]any{"ciphertext": ciphertext}
	if err := c.put(ctx, TransitPath(c.cluster)+"/decrypt/"+key, body, &out); err != nil {
		return nil, fmt.Errorf("decrypt with transit key %s: %w", key, err)
	}
	return out.Plaintext, nil
}
