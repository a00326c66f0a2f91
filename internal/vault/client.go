package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Options say where Vault is and how it is recognised. Nothing is taken from the environment: Vault's own client
// library reads VAULT_ADDR, VAULT_TOKEN, VAULT_SKIP_VERIFY and others even when told everything, and waits seconds
// between attempts; that is why this package speaks HTTP itself.
type Options struct {
	// Cluster is the cluster's name, the first part of every path.
	Cluster string
	// Addresses are host:port of the servers. The host is the name that the certificate must have.
	Addresses []string
	// CAs are trusted certificates, as PEM.
	CAs string
	// Pins are SHA-256 digests of server certificates (DER) that are trusted whoever signed them: how a server is
	// recognised before it can have a certificate from Vault.
	Pins [][32]byte
	// DialContext opens connections; nil: net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// DialTimeout limits one attempt to connect; 0: 2 s.
	DialTimeout time.Duration
	// Timeout limits one request; 0: 15 s.
	Timeout time.Duration
	// Token authenticates requests; may be empty.
	Token string
}

// Client speaks to one Vault, whichever of its servers answers. It is safe for concurrent use.
type Client struct {
	cluster   string
	addresses []string
	current   *atomic.Int64 // the address that answered last
	skew      *atomic.Int64 // how far our clock is ahead of the server's, in nanoseconds
	slots     chan struct{} // one for each request under way
	http      *http.Client
	timeout   time.Duration
	token     string
	wrap      time.Duration
}

// New returns a client. It connects to nothing yet.
func New(o Options) (*Client, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("vault client: no address given")
	}
	tlsConfig, err := o.tls()
	if err != nil {
		return nil, err
	}
	if o.DialContext == nil {
		o.DialContext = (&net.Dialer{}).DialContext
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 2 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
		defer cancel()
		return o.DialContext(ctx, network, address)
	}
	return &Client{
		cluster:   o.Cluster,
		addresses: slices.Clone(o.Addresses),
		current:   new(atomic.Int64),
		skew:      new(atomic.Int64),
		slots:     make(chan struct{}, 16),
		timeout:   o.Timeout,
		token:     o.Token,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         dial,
				TLSClientConfig:     tlsConfig,
				TLSHandshakeTimeout: o.DialTimeout,
				ForceAttemptHTTP2:   true,
				IdleConnTimeout:     time.Minute,
				// A server that lost its power says nothing.
				HTTP2: &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second, WriteByteTimeout: 5 * time.Second},
			},
			// A standby that cannot forward answers with a redirect. The token must not follow it; the other
			// addresses are tried instead.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// WithToken returns a client that shares connections and authenticates as another.
func (c *Client) WithToken(token string) *Client {
	d := *c
	d.token = token
	return &d
}

// Token returns the token that the client authenticates with. It is a secret.
func (c *Client) Token() string { return c.token }

// Skew is how far this machine's clock was ahead of the server's at the last answer, to the second.
func (c *Client) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// Close drops idle connections, so that the next request sees the server's present certificate.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// wrapped returns a client whose answers come response-wrapped.
func (c *Client) wrapped(ttl time.Duration) *Client {
	d := *c
	d.wrap = ttl
	return &d
}

// response is the envelope of Vault's answers.
type response struct {
	Data json.RawMessage `json:"data"`
	Auth *struct {
		Token     string   `json:"client_token"`
		Accessor  string   `json:"accessor"`
		Policies  []string `json:"policies"`
		EntityID  string   `json:"entity_id"`
		TTL       int64    `json:"lease_duration"`
		Renewable bool     `json:"renewable"`
		// Metadata is what the auth method says of whoever logged in.
		Metadata map[string]string `json:"metadata"`
	} `json:"auth"`
	Wrap *struct {
		Token string `json:"token"`
	} `json:"wrap_info"`
	raw []byte
}

// get reads path and decodes the answer's data into out.
func (c *Client) get(ctx context.Context, path string, out any) error {
	r, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return r.decode(path, out)
}

// list returns the keys below path; none is not an error.
func (c *Client) list(ctx context.Context, path string) ([]string, error) {
	var out struct{ Keys []string }
	r, err := c.do(ctx, "LIST", path, nil)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = r.decode(path, &out)
	return out.Keys, err
}

// put writes body to path and decodes the answer's data into out, unless that is nil.
func (c *Client) put(ctx context.Context, path string, body, out any) error {
	r, err := c.do(ctx, http.MethodPut, path, body)
	if err != nil || out == nil {
		return err
	}
	return r.decode(path, out)
}

// remove deletes path; it need not exist.
func (c *Client) remove(ctx context.Context, path string) error {
	_, err := c.do(ctx, http.MethodDelete, path, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// decode takes the data of the envelope, or the whole answer where (as below sys/) there is no envelope.
func (r *response) decode(path string, out any) error {
	data := r.Data
	if len(data) == 0 || string(data) == "null" {
		data = r.raw
	}
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("vault %s: unexpected answer: %w", path, err)
	}
	return nil
}

// do sends a request to the server that answered last, and to the others in turn while one cannot have processed it.
// While no server leads it waits for one.
func (c *Client) do(ctx context.Context, method, path string, body any) (*response, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("vault %s %s: encode: %w", method, path, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("vault %s %s: %w", method, path, ctx.Err())
	}
	var r *response
	var err error
	_ = poll(ctx, electionPause, "a server leads", func() (bool, error) {
		r, err = c.ask(ctx, method, path, payload)
		return !leaderless(err), err
	})
	return r, err
}

// electionPause is how long a request waits before it asks servers without a leader again.
const electionPause = 100 * time.Millisecond

// ask sends a request to each server in turn, until one has taken it or may have.
func (c *Client) ask(ctx context.Context, method, path string, payload []byte) (*response, error) {
	first := c.current.Load()
	var errs []error
	for i := range int64(len(c.addresses)) {
		n := (first + i) % int64(len(c.addresses))
		r, err := c.send(ctx, c.addresses[n], method, path, payload)
		if err == nil {
			c.current.Store(n)
			return r, nil
		}
		errs = append(errs, err)
		if !elsewhere(method, err) || ctx.Err() != nil {
			break
		}
	}
	if answer := (*Error)(nil); !errors.As(errs[0], &answer) {
		// Who does not answer is asked last from now on: the time of the next caller may be short.
		c.current.CompareAndSwap(first, (first+1)%int64(len(c.addresses)))
	}
	return nil, errors.Join(errs...)
}

func (c *Client) send(ctx context.Context, address, method, path string, payload []byte) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+address+"/v1/"+strings.TrimPrefix(path, "/"), bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("vault %s %s: %w", method, path, err)
	}
	req.Header.Set("X-Vault-Request", "true")
	if c.token != "" {
		req.Header.Set("X-Vault-Token", c.token)
	}
	if c.wrap > 0 {
		req.Header.Set("X-Vault-Wrap-TTL", fmt.Sprintf("%ds", int64(c.wrap.Seconds())))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("vault at %s: %w", address, err)
	}
	defer res.Body.Close() // read to its end below
	raw, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("vault at %s: %s %s: read the answer: %w", address, method, path, err)
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		c.skew.Store(int64(time.Since(date).Truncate(time.Second)))
	}
	out := &response{raw: raw}
	var problem struct{ Errors []string }
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, out); err != nil && res.StatusCode < 300 {
			return nil, fmt.Errorf("vault at %s: %s %s: answer is not JSON: %w", address, method, path, err)
		}
		_ = json.Unmarshal(raw, &problem) // an error without words is still an error by its status
	}
	if res.StatusCode >= 300 {
		return nil, &Error{Address: address, Method: method, Path: path, Status: res.StatusCode, Messages: problem.Errors}
	}
	return out, nil
}
