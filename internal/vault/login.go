package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Login is what a login or a renewal gives.
type Login struct {
	// Token is a secret.
	Token string
	// Accessor is what others may call it by, to end it.
	Accessor string
	// TTL is how long it lives unless it is renewed.
	TTL time.Duration
}

// IssueInitToken returns the init token of a machine: a wrapping token around a secret_id. Each may be used once,
// within ttl, the latter only from the machine's own address. It is a secret.
func (c *Client) IssueInitToken(ctx context.Context, machine string, ttl time.Duration) (string, error) {
	r, err := c.wrapped(ttl).do(ctx, http.MethodPut, AppRolePath(c.cluster, machine)+"/secret-id", map[string]any{})
	if err != nil {
		return "", fmt.Errorf("issue an init token for %s: %w", machine, err)
	}
	if r.Wrap == nil {
		return "", fmt.Errorf("issue an init token for %s: the answer is not wrapped", machine)
	}
	return r.Wrap.Token, nil
}

// LoginMachine redeems an init token: it proves to be the machine, and returns a client that acts as it.
// An init token that was used before is ErrInitTokenUsed: either an earlier attempt of ours, or somebody else.
func (c *Client) LoginMachine(ctx context.Context, machine, initToken string) (*Client, Login, error) {
	secret, err := c.unwrap(ctx, initToken)
	if err != nil {
		return nil, Login{}, fmt.Errorf("log in as %s: %w", machine, err)
	}
	return c.LoginAppRole(ctx, RoleID(c.cluster, machine), secret)
}

// ErrInitTokenUsed says that an init token has been used, has expired or never was.
var ErrInitTokenUsed = errors.New("the init token was used before or has expired: `ashlar up` issues another; if nobody of yours used it, somebody else holds the machine's first credential")

func (c *Client) unwrap(ctx context.Context, token string) (string, error) {
	var out struct {
		SecretID string `json:"secret_id"`
	}
	err := c.WithToken(token).put(ctx, "sys/wrapping/unwrap", map[string]any{}, &out)
	var refused *Error
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError {
		return "", fmt.Errorf("%w (%w)", ErrInitTokenUsed, err)
	}
	if err == nil && out.SecretID == "" {
		err = errors.New("the init token does not hold a secret_id")
	}
	return out.SecretID, err
}

// LoginAppRole logs in, and returns a client that acts under that identity.
func (c *Client) LoginAppRole(ctx context.Context, roleID, secretID string) (*Client, Login, error) {
	return c.loginAppRole(ctx, AuthPath(c.cluster), roleID, secretID)
}

func (c *Client) loginAppRole(ctx context.Context, mount, roleID, secretID string) (*Client, Login, error) {
	r, err := c.WithToken("").do(ctx, http.MethodPut, "auth/"+mount+"/login", map[string]any{"role_id": roleID, "secret_id": secretID})
	if err != nil {
		return nil, Login{}, fmt.Errorf("log in as %s: %w", roleID, err)
	}
	login, err := r.login()
	return c.WithToken(login.Token), login, err
}

// RenewSelf gives the client's token another period of life.
func (c *Client) RenewSelf(ctx context.Context) (Login, error) {
	r, err := c.do(ctx, http.MethodPut, "auth/token/renew-self", map[string]any{})
	if err != nil {
		return Login{}, fmt.Errorf("renew the Vault token: %w", err)
	}
	return r.login()
}

// RevokeSelf ends the client's token. One that is dead already is not an error: where a server ends before it answers, another is
// asked again.
func (c *Client) RevokeSelf(ctx context.Context) error {
	var err error
	for range len(c.addresses) + 1 {
		err = c.put(ctx, "auth/token/revoke-self", map[string]any{}, nil)
		if err == nil || errors.Is(err, ErrDenied) {
			return nil
		}
		if refused := (*Error)(nil); errors.As(err, &refused) || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("revoke the Vault token: %w", err)
}

func (r *response) login() (Login, error) {
	if r.Auth == nil || r.Auth.Token == "" {
		return Login{}, errors.New("vault's answer to a login holds no token")
	}
	return Login{Token: r.Auth.Token, Accessor: r.Auth.Accessor, TTL: time.Duration(r.Auth.TTL) * time.Second}, nil
}

// OperatorCredential is how `ashlar` logs in. It is kept in the operator's directory, readable by the owner only.
type OperatorCredential struct {
	RoleID string `json:"roleID"`
	// SecretID is a secret.
	SecretID string `json:"secretID"`
}

// IssueOperatorCredential replaces the operator's credential by a new one. It needs a root token; see WithRoot.
func (c *Client) IssueOperatorCredential(ctx context.Context) (OperatorCredential, error) {
	secret, err := c.secretID(ctx, AppRolePath(c.cluster, Operator), true)
	if err != nil {
		return OperatorCredential{}, fmt.Errorf("issue the operator's credential: %w", err)
	}
	return OperatorCredential{RoleID: RoleID(c.cluster, Operator), SecretID: secret}, nil
}

// secretID makes an AppRole role a secret, and destroys the role's earlier ones if it shall replace them.
func (c *Client) secretID(ctx context.Context, role string, replace bool) (string, error) {
	earlier, err := c.list(ctx, role+"/secret-id")
	if err != nil {
		return "", fmt.Errorf("list secrets: %w", err)
	}
	var out struct {
		SecretID string `json:"secret_id"`
	}
	if err := c.put(ctx, role+"/secret-id", map[string]any{}, &out); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	if !replace {
		return out.SecretID, nil
	}
	for _, accessor := range earlier {
		err := c.put(ctx, role+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor}, nil)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", fmt.Errorf("destroy an earlier secret: %w", err)
		}
	}
	return out.SecretID, nil
}
