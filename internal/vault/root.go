package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// rootLifetime bounds the root token that work is done with: should everything fail, it dies by itself.
const rootLifetime = 10 * time.Minute

// WithRoot runs f with a root token that is generated from the unseal keys, and revokes it, whatever f does.
func (c *Client) WithRoot(ctx context.Context, keys Keys, f func(root *Client) error) error {
	token, err := c.generateRoot(ctx, keys)
	if err != nil {
		return err
	}
	return c.UseRoot(ctx, token, f)
}

// UseRoot runs f with a root token of minutes. The given one, which would live for ever, is revoked before f runs, the
// other one after it. If the process dies in between the first two steps a root token survives: Observe finds it.
func (c *Client) UseRoot(ctx context.Context, token string, f func(root *Client) error) (err error) {
	revoke := func(c *Client) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		return c.RevokeSelf(ctx)
	}
	forever := c.WithToken(token)
	brief, failed := forever.briefRoot(ctx)
	if failed == nil {
		defer func() { err = errors.Join(err, revoke(brief)) }()
	}
	if err := errors.Join(failed, revoke(forever)); err != nil {
		return fmt.Errorf("exchange the root token: %w", err)
	}
	return f(brief)
}

func (c *Client) briefRoot(ctx context.Context) (*Client, error) {
	lifetime := rootLifetime.String()
	r, err := c.do(ctx, http.MethodPut, "auth/token/create", map[string]any{
		"policies": []string{"root"}, "no_parent": true, "renewable": false,
		"ttl": lifetime, "explicit_max_ttl": lifetime, "display_name": "ashlar",
	})
	if err != nil {
		return nil, err
	}
	login, err := r.login()
	return c.WithToken(login.Token), err
}

// generateRoot makes a root token out of unseal keys. Vault returns it encrypted with a one-time pad that it made
// for this attempt, so that whoever records the last answer alone learns nothing.
func (c *Client) generateRoot(ctx context.Context, keys Keys) (string, error) {
	if !keys.recorded() {
		return "", errors.New("generate a root token: no unseal keys")
	}
	const path = "sys/generate-root"
	c = c.WithToken("")
	// There can be one attempt at a time; one that is under way is what a killed run left.
	if err := c.remove(ctx, path+"/attempt"); err != nil {
		return "", fmt.Errorf("generate a root token: %w", err)
	}
	var attempt struct {
		Nonce    string `json:"nonce"`
		OTP      string `json:"otp"`
		Complete bool   `json:"complete"`
		Token    string `json:"encoded_token"`
	}
	err := c.put(ctx, path+"/attempt", map[string]any{}, &attempt)
	pad, nonce := attempt.OTP, attempt.Nonce
	for i := 0; err == nil && !attempt.Complete; i++ {
		if i == len(keys.Shares) {
			err = fmt.Errorf("%d keys are not enough", i)
			break
		}
		err = c.put(ctx, path+"/update", map[string]any{"key": keys.Shares[i], "nonce": nonce}, &attempt)
	}
	if err != nil {
		return "", fmt.Errorf("generate a root token: %w", err)
	}
	return unpad(attempt.Token, pad)
}

func unpad(encoded, pad string) (string, error) {
	b, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return "", errors.New("generate a root token: the answer is not base64")
	}
	if len(b) != len(pad) {
		return "", errors.New("generate a root token: the answer and its one-time pad differ in length")
	}
	for i := range b {
		b[i] ^= pad[i]
	}
	return string(b), nil
}
