package kms

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// connectVault makes an Options.Connect of a Vault client: each token gets a copy of it.
func connectVault(client *api.Client, mount string) func(token string) (Transit, error) {
	return func(token string) (Transit, error) {
		own, err := client.Clone()
		if err != nil {
			return nil, err
		}
		own.SetToken(token)
		return logical{own.Logical(), mount}, nil
	}
}

type logical struct {
	client *api.Logical
	mount  string
}

func (l logical) TransitEncrypt(ctx context.Context, key string, plaintext []byte) (string, error) {
	return l.call(ctx, "encrypt/"+key, "plaintext", base64.StdEncoding.EncodeToString(plaintext), "ciphertext")
}

func (l logical) TransitDecrypt(ctx context.Context, key, ciphertext string) ([]byte, error) {
	encoded, err := l.call(ctx, "decrypt/"+key, "ciphertext", ciphertext, "plaintext")
	if err != nil {
		return nil, err
	}
	plaintext, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("vault returned a plaintext that is not base64") // the error itself would quote it
	}
	return plaintext, nil
}

// call sends one field to a path of the mount, and returns one of the answer.
func (l logical) call(ctx context.Context, path, field, value, answer string) (string, error) {
	secret, err := l.client.WriteWithContext(ctx, l.mount+"/"+path, map[string]any{field: value})
	if err != nil {
		return "", err
	}
	if secret == nil {
		return "", fmt.Errorf("vault: %s/%s: empty answer", l.mount, path)
	}
	out, ok := secret.Data[answer].(string)
	if !ok {
		return "", fmt.Errorf("vault: %s/%s: no %s in the answer", l.mount, path, answer)
	}
	return out, nil
}
