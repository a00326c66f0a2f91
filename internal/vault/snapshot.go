package vault

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

const (
	snapshotPath = "sys/storage/raft/snapshot"
	// forcePath also takes a snapshot that other unseal keys open.
	forcePath = "sys/storage/raft/snapshot-force"
)

// SaveSnapshot writes all that Vault holds to w. Vault's barrier encrypts it: the unseal keys open it. The client must hold
// a root token.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer) error {
	body, err := c.stream(ctx, http.MethodGet, snapshotPath, nil)
	if err != nil {
		return fmt.Errorf("take a snapshot of Vault: %w", err)
	}
	defer body.Close()
	// Vault cannot say any more that something failed when the answer has begun; but then its gzip does not end.
	unpacked, err := gzip.NewReader(io.TeeReader(body, w))
	if err == nil {
		_, err = io.Copy(io.Discard, unpacked)
	}
	if err == nil {
		_, err = io.Copy(w, body)
	}
	if err != nil {
		return fmt.Errorf("take a snapshot of Vault: it ended too early: %w", err)
	}
	return nil
}

// RestoreSnapshot makes Vault hold what a snapshot does, and nothing else; if other keys open the snapshot, Vault is sealed
// when this returns. The client must hold a root token, which is no token any more then.
func (c *Client) RestoreSnapshot(ctx context.Context, snapshot io.Reader) error {
	body, err := c.stream(ctx, http.MethodPost, forcePath, snapshot)
	if err != nil {
		return fmt.Errorf("restore Vault: %w", err)
	}
	if err := body.Close(); err != nil {
		return fmt.Errorf("restore Vault: %w", err)
	}
	// Vault has taken the snapshot, and goes over to it in its own time: then it does not know the token any more.
	return poll(ctx, 50*time.Millisecond, "vault has gone over to the snapshot", func() (bool, error) {
		err := c.get(ctx, "auth/token/lookup-self", &struct{}{})
		return errors.Is(err, ErrDenied) || sealed(err), err
	})
}

// sealed says that a server answered that it is; one that has no leader just now is not.
func sealed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusServiceUnavailable && e.says("sealed")
}

// stream sends a request whose body or answer may be long, to whichever server leads.
func (c *Client) stream(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+leader+"/v1/"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("X-Vault-Token", c.token)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("vault at %s: %w", leader, err)
	}
	if res.StatusCode >= 300 {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what matters is the status
		_ = res.Body.Close()
		return nil, &Error{Address: leader, Method: method, Path: path, Status: res.StatusCode, Messages: []string{string(said)}}
	}
	return res.Body, nil
}

// leader is the address of the server that works on requests: the others would have to be followed there.
func (c *Client) leader(ctx context.Context) (string, error) {
	var errs []error
	for _, address := range c.addresses {
		one := *c
		one.addresses = []string{address}
		leads, err := one.Leads(ctx)
		if leads {
			return address, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(append(errs, errors.New("no server of Vault leads"))...)
}

// RevokeTokens ends every token that somebody got by a login: all but root tokens, and with each all that it was leased.
// The client must hold a root token.
func (c *Client) RevokeTokens(ctx context.Context) error {
	mounts := map[string]struct{ Type string }{}
	if err := c.get(ctx, "sys/auth", &mounts); err != nil {
		return fmt.Errorf("revoke all tokens: %w", err)
	}
	for mount, m := range mounts {
		if m.Type == "token" {
			continue
		}
		if err := c.put(ctx, "sys/leases/revoke-prefix/auth/"+strings.TrimSuffix(mount, "/"), map[string]any{"sync": true}, nil); err != nil {
			return fmt.Errorf("revoke all tokens of auth/%s: %w", mount, err)
		}
	}
	return nil
}

// RewritePolicies writes every policy of a layout, also those that are as they should be: for the audit log of a server
// that has not seen the first time. The client must hold a root token.
func RewritePolicies(ctx context.Context, c *Client, want State) error {
	policies := State{Cluster: want.Cluster, Objects: want.of(KindPolicy)}
	return Apply(ctx, c, Diff(policies, State{Cluster: want.Cluster}))
}

// Issued lists the serial numbers of the certificates of a CA that Vault keeps, as Vault writes them.
func (c *Client) Issued(ctx context.Context, ca unit.CA) ([]string, error) {
	serials, err := c.list(ctx, PKIPath(c.cluster, ca)+"/certs")
	if err != nil {
		return nil, fmt.Errorf("list the certificates of CA %s: %w", ca, err)
	}
	return serials, nil
}

// RootToReplace returns a client with a root token, for RestoreSnapshot: nobody revokes it, since Vault forgets it then.
func (c *Client) RootToReplace(ctx context.Context, keys Keys) (*Client, error) {
	token, err := c.generateRoot(ctx, keys)
	return c.WithToken(token), err
}
