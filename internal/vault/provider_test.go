package vault

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// declare makes Vault as it should be with this provider, and returns what was otherwise.
func (c *cluster) declare(p *v1alpha1.IdentityProvider) []Drift {
	c.t.Helper()
	c.input.Provider = p
	c.want = Layout(c.input)
	drifts := c.drift()
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	for _, d := range c.drift() {
		c.t.Errorf("not repaired: %s", d)
	}
	return drifts
}

// login logs in with a browser that goes where it is sent.
func (c *cluster) login(p *openID) (*Client, string, error) {
	session, login, name, err := c.anonymous.LoginProvider(c.ctx, func(address string) { go p.browser(address) })
	if err == nil && login.TTL != c.input.AdminTTL {
		c.t.Errorf("a session lasts %s", login.TTL)
	}
	return session, name, err
}

// groupsOf fills the places that are without a group.
func groupsOf(names ...any) []any {
	return slices.Concat(names, slices.Repeat([]any{""}, ProviderGroups-len(names)))
}

func TestProvider(t *testing.T) {
	c := startCluster(t)
	p := startOpenID(t)
	c.declare(p.declared())
	setSecret := func(secret string) {
		t.Helper()
		c.asRoot(func(root *Client) error { return root.SetProviderSecret(c.ctx, *p.declared(), secret) })
	}

	if _, _, err := c.login(p); !errors.Is(err, ErrNoProviderSecret) {
		t.Errorf("without the client's secret: %v", err)
	}
	if err := c.operator.SetProviderSecret(c.ctx, *p.declared(), p.secret); !errors.Is(err, ErrDenied) {
		t.Errorf("the operator's credential sets the secret: %v", err)
	}
	away := *p.declared()
	away.Issuer = "https://127.0.0.1:1"
	c.asRoot(func(root *Client) error {
		if err := root.SetProviderSecret(c.ctx, away, p.secret); err == nil || !strings.Contains(err.Error(), "do not find the provider at https://127.0.0.1:1") {
			t.Errorf("a provider that cannot be reached: %v", err)
		}
		return nil
	})
	p.sits(map[string]any{"preferred_username": "alice", "groups": []string{"developers"}})
	setSecret("wrong")
	if _, _, err := c.login(p); err == nil {
		t.Error("with a wrong client secret somebody logs in")
	}
	setSecret(p.secret)
	if d := c.drift(); len(d) > 0 {
		t.Errorf("the secret is drift: %v", d)
	}
	c.asRoot(func(root *Client) error {
		var all json.RawMessage
		err := root.get(c.ctx, providerConfigPath("demo"), &all)
		if strings.Contains(string(all), p.secret) {
			t.Error("the client's secret can be read")
		}
		return errors.Join(err, root.SetPerson(c.ctx, Person{Name: "alice", Groups: []string{"admins"}}, "correct horse"))
	})

	session, name, err := c.login(p)
	c.must(err)
	if name != "alice" {
		t.Errorf("logged in as %s", name)
	}
	c.claims(session, map[string]any{"user": "", "groups": nil, "declared_groups": "", "provider_user": "alice", "provider_groups": groupsOf("developers")})
	if err := session.get(c.ctx, "identity/entity/name", &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("somebody from the provider may look at who there is: %v", err)
	}
	other, _, err := c.anonymous.LoginPerson(c.ctx, "alice", "correct horse")
	c.must(err)
	c.claims(other, map[string]any{"user": "alice", "groups": []any{"admins"}, "declared_groups": "", "provider_user": "", "provider_groups": noGroups})

	// What the provider says last is what counts.
	for _, e := range []struct {
		claims map[string]any
		want   []any
	}{
		{map[string]any{"preferred_username": "alice", "groups": []string{"on-call", `"}], {{x}}`}}, groupsOf("on-call", `"}], {{x}}`)},
		{map[string]any{"preferred_username": "ALICE", "groups": []string{"guests"}}, groupsOf("guests")}, // is somebody else
		{map[string]any{"preferred_username": "alice", "groups": "on-call"}, noGroups},                    // is no list
		{map[string]any{"preferred_username": "alice", "groups": []string{"developers"}}, groupsOf("developers")},
		{map[string]any{"preferred_username": "alice"}, noGroups},
		{map[string]any{"preferred_username": "alice.smith", "sub": "616c696365"}, noGroups}, // alice, renamed
		{map[string]any{"preferred_username": "system:admin"}, noGroups},                     // no component: it is another claim
	} {
		p.sits(e.claims)
		session, _, err := c.login(p)
		c.must(err)
		c.claims(session, map[string]any{"user": "", "groups": nil, "declared_groups": "", "provider_user": e.claims["preferred_username"], "provider_groups": e.want})
	}

	c.refused(p)
	c.providerChanges(p, session)
}

// refused is what must not come to a session.
func (c *cluster) refused(p *openID) {
	for what, claims := range map[string]map[string]any{
		"nobody":                 nil,
		"a token for another":    {"preferred_username": "alice", "aud": "another"},
		"a token for both":       {"preferred_username": "alice", "aud": []string{"another", "and-another"}},
		"a token that expired":   {"preferred_username": "alice", "exp": 1700000000, "iat": 1699999000},
		"another issuer's token": {"preferred_username": "alice", "iss": "https://login.example.com"},
		"another login's token":  {"preferred_username": "alice", "nonce": "other"},
		"a token without a name": {},
		"an empty name":          {"preferred_username": ""},
		"a name that is a list":  {"preferred_username": []string{"alice"}},
		"a group that is a list": {"preferred_username": "alice", "groups": []any{[]string{"x"}}},
	} {
		p.sits(claims)
		if _, name, err := c.login(p); err == nil {
			c.t.Errorf("%s logs in, as %q", what, name)
		}
	}
	p.sits(map[string]any{"preferred_username": "alice"})
	begin := func() (state, code string) {
		address, err := c.anonymous.providerAddress(c.ctx, "nonce")
		c.must(err)
		back := p.code(address.String())
		return back.Get("state"), back.Get("code")
	}
	redeem := func(what, state, code, nonce string, want bool) {
		c.t.Helper()
		if _, _, err := c.anonymous.redeemCode(c.ctx, state, code, nonce); (err == nil) != want {
			c.t.Errorf("%s: %v", what, err)
		} else if err != nil && strings.Contains(err.Error(), code) {
			c.t.Errorf("%s: the error has the code: %v", what, err)
		}
	}
	state, code := begin()
	redeem("without the nonce", state, code, "", false)
	state, code = begin()
	otherState, otherCode := begin()
	redeem("a code of another login", state, otherCode, "nonce", false)
	redeem("a state that was used", state, code, "nonce", false)
	redeem("a code that was used", otherState, otherCode, "nonce", false)
	redeem("a state that never was", "st_x", code, "nonce", false)
	state, code = begin()
	redeem("as it should be", state, code, "nonce", true)
	redeem("once more", state, code, "nonce", false)

	// Somebody else's login is passed over by the page, and does not end the waiting either.
	foreignState, foreignCode := begin()
	_, _, name, err := c.anonymous.LoginProvider(c.ctx, func(address string) {
		go func() {
			p.browser(callbackURL + "?" + url.Values{"state": {foreignState}, "code": {foreignCode}}.Encode())
			p.browser(callbackURL + "?" + url.Values{"error": {"access_denied"}}.Encode())
			p.browser(address)
		}()
	})
	if err != nil || name != "alice" {
		c.t.Errorf("after another's state: %q, %v", name, err)
	}
}

// providerChanges: what belongs to one provider is neither shown to another nor of use with it.
func (c *cluster) providerChanges(p *openID, session *Client) {
	next := p.declared()
	next.Issuer = "https://login.example.com"
	if d := c.declare(next); !slices.ContainsFunc(d, func(d Drift) bool { return strings.Contains(d.Cause, "oidc_discovery_url") }) {
		c.t.Errorf("another provider: %v", d)
	}
	if _, _, err := session.Identity(c.ctx); !errors.Is(err, ErrDenied) {
		c.t.Errorf("a session of the former provider's: %v", err)
	}
	if _, _, err := c.login(p); !errors.Is(err, ErrNoProviderSecret) {
		c.t.Errorf("at another provider: %v", err)
	}
	c.declare(p.declared())
	c.asRoot(func(root *Client) error { return root.SetProviderSecret(c.ctx, *p.declared(), p.secret) })
	session, _, err := c.login(p)
	c.must(err)

	// Made anew by hand, the mount has another accessor.
	c.asRoot(func(root *Client) error {
		return errors.Join(root.remove(c.ctx, "sys/auth/demo/provider"), root.put(c.ctx, "sys/auth/demo/provider", Fields{"type": "oidc"}, nil),
			root.put(c.ctx, "auth/demo/provider/role/evil", Fields{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "x"}, nil))
	})
	drifts := c.declare(p.declared())
	for _, want := range []string{"identity role identity/oidc/role/demo: template", "role/people: missing", "role/evil: should not be there"} {
		if !slices.ContainsFunc(drifts, func(d Drift) bool { return strings.Contains(d.String(), want) }) {
			c.t.Errorf("not named: %q in %v", want, drifts)
		}
	}
	c.declare(nil)
	if _, _, err := session.Identity(c.ctx); !errors.Is(err, ErrDenied) {
		c.t.Errorf("a session, and no provider: %v", err)
	}
	c.declare(p.declared()) // a new mount at once
}
