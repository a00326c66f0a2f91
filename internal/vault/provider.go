package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// People that a provider of the company's knows log in there (OpenID Connect), and come back to Vault with its word. In
// tokens they have claims of their own: neither by name nor by group can one of them be mistaken for somebody of Vault's.

// ProviderPrefix comes before the name of somebody from the provider, wherever there are others too.
const ProviderPrefix = unit.ProviderPrefix

// ProviderGroups is how many groups of somebody's are known: Vault keeps texts of an alias, not lists, so that each group
// has a place of its own.
const ProviderGroups = 32

// ProviderPath is where people from the provider log in, below auth/.
func ProviderPath(cluster string) string { return cluster + "/provider" }

func providerConfigPath(cluster string) string { return "auth/" + ProviderPath(cluster) + "/config" }

// accessorMark stands in templates for the accessor of the provider's mount, which Vault chooses.
const accessorMark = "<provider>"

func provider(in Input) []Object {
	if in.Provider == nil {
		return nil
	}
	c := in.Cluster
	return []Object{
		{KindAuth, "sys/auth/" + ProviderPath(c), Fields{
			"type": "oidc", "description": "people of " + in.Provider.Issuer, "default_lease_ttl": int64(0), "max_lease_ttl": seconds(in.AdminTTL),
		}},
		{KindProvider, providerConfigPath(c), providerConfig(*in.Provider)},
		{KindProviderRole, "auth/" + ProviderPath(c) + "/role/" + RolePeople, providerRole(in)},
	}
}

func providerConfig(p v1alpha1.IdentityProvider) Fields {
	return Fields{
		"oidc_discovery_url":    p.Issuer,
		"oidc_discovery_ca_pem": p.CertificateAuthority,
		"oidc_client_id":        p.ClientID,
		"oidc_response_mode":    "query",
		"oidc_response_types":   []string{"code"},
		"bound_issuer":          "", // is the issuer's that was discovered
		"default_role":          RolePeople,
		// All that need a key to sign, and another to check.
		"jwt_supported_algs":                   []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"},
		"jwks_ca_pem":                          "",
		"jwks_pairs":                           []string{},
		"jwks_url":                             "",
		"jwt_validation_pubkeys":               []string{},
		"namespace_in_state":                   false,
		"provider_config":                      map[string]string{},
		"unsupported_critical_cert_extensions": []string{},
	}
}

// providerRole knows somebody by the subject, which the provider chooses and gives to nobody else. Names are chosen by people,
// and to Vault those that differ just in case are one: alice would be whoever can be ALICE at the provider. Subjects that
// differ just in case are one as well, and Vault cannot be kept from that: docs/users.md says for whom this is not.
func providerRole(in Input) Fields {
	p := in.Provider
	metadata := map[string]string{p.UserClaim: "user"}
	if p.GroupsClaim != "" {
		for i := range ProviderGroups {
			metadata[fmt.Sprintf("%s/%d", pointer(p.GroupsClaim), i)] = groupSlot(i)
		}
	}
	return Fields{
		"role_type":               "oidc",
		"user_claim":              "sub",
		"user_claim_json_pointer": false,
		"groups_claim":            "", // would make people members of what is declared in Vault, by name
		"claim_mappings":          metadata,
		"bound_audiences":         []string{p.ClientID},
		"bound_subject":           "",
		"bound_claims":            map[string]string{p.UserClaim: "*"}, // must be there
		"bound_claims_type":       "glob",
		"allowed_redirect_uris":   []string{callbackURL},
		"oidc_scopes":             []string{"profile", "email"}, // openid is always asked for
		"verbose_oidc_logging":    false,
		"max_age":                 int64(0),
		"expiration_leeway":       int64(0),
		"not_before_leeway":       int64(0),
		"clock_skew_leeway":       int64(0),
		"alias_metadata":          map[string]string{},
		"token_bound_cidrs":       []string{},
		"token_explicit_max_ttl":  seconds(in.AdminTTL),
		"token_max_ttl":           seconds(in.AdminTTL),
		"token_no_default_policy": true,
		"token_num_uses":          int64(0),
		"token_period":            int64(0),
		"token_policies":          []string{PolicyName(in.Cluster, RolePeople)},
		"token_ttl":               seconds(in.AdminTTL),
		"token_type":              "service",
	}
}

func groupSlot(i int) string { return fmt.Sprintf("group%d", i) }

// pointer is a claim's name as a JSON pointer; one that is a pointer already stays.
func pointer(claim string) string {
	if strings.HasPrefix(claim, "/") {
		return claim
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(claim)
}

// providerClaims are what a token says of somebody from the provider: "" of everybody else, and in each place without a
// group.
func providerClaims(in Input) string {
	if in.Provider == nil {
		return `"provider_user": "", "provider_groups": []`
	}
	alias := "{{identity.entity.aliases." + accessorMark + "."
	var groups []string
	if in.Provider.GroupsClaim != "" {
		for i := range ProviderGroups {
			groups = append(groups, alias+"metadata."+groupSlot(i)+"}}")
		}
	}
	return `"provider_user": ` + alias + `metadata.user}}, "provider_groups": [` + strings.Join(groups, ", ") + "]"
}

// writeIdentityRole puts the accessor where its mark is, and observeIdentityRole the mark where the accessor is: a mount
// that was made anew has another, and shows as drift.
func writeIdentityRole(ctx context.Context, c *Client, want Object, _ *Object) error {
	accessor, err := c.accessor(ctx, "auth/"+ProviderPath(c.cluster)+"/")
	if err != nil {
		return err
	}
	f := maps.Clone(want.Fields)
	text, _ := f["template"].(string)
	if accessor == "" && strings.Contains(text, accessorMark) {
		return errors.New("no auth method is mounted for the provider")
	}
	f["template"] = strings.ReplaceAll(text, accessorMark, accessor)
	return c.put(ctx, want.Path, f, nil)
}

func observeIdentityRole(ctx context.Context, o observer) ([]Object, error) {
	out, err := observeWanted(KindIdentityRole)(ctx, o)
	if err != nil || len(out) == 0 {
		return out, err
	}
	accessor, err := o.accessor(ctx, "auth/"+ProviderPath(o.want.Cluster)+"/")
	if text, _ := out[0].Fields["template"].(string); accessor != "" {
		out[0].Fields["template"] = strings.ReplaceAll(text, "aliases."+accessor+".", "aliases."+accessorMark+".")
	}
	return out, err
}

// accessor is what Vault calls an auth method; empty: there is none.
func (c *Client) accessor(ctx context.Context, mount string) (string, error) {
	var auths map[string]struct{ Accessor string }
	err := c.get(ctx, "sys/auth", &auths)
	return auths[strings.TrimPrefix(mount, "auth/")].Accessor, err
}

// observeProvider reads what Vault knows of the provider. Vault takes a client's ID only together with its secret, and asks
// the provider about itself at once. So this is written by SetProviderSecret, not by Apply: an unreachable provider keeps
// no cluster from coming up. As long as there is no client, nobody can log in, and nothing differs.
func observeProvider(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.want.of(KindProvider), func(ctx context.Context, want Object) ([]Object, error) {
		f, err := o.fields(ctx, want.Path)
		if errors.Is(err, ErrNotFound) || err == nil && f["oidc_client_id"] == "" {
			return []Object{want}, nil
		}
		return []Object{{KindProvider, want.Path, f}}, err
	})
}

// writeProvider forgets a provider that is not the declared one, with its client's secret, which is nobody else's to see,
// and ends the sessions of its people. Vault cannot be without any configuration again; a key that nobody has is next to it.
func writeProvider(ctx context.Context, c *Client, want Object, _ *Object) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err := c.put(ctx, want.Path, Fields{"jwt_validation_pubkeys": []string{public}}, nil); err != nil {
		return err
	}
	return c.put(ctx, "sys/leases/revoke-prefix/auth/"+ProviderPath(c.cluster), Fields{}, nil)
}

// observeProviderRoles finds all roles of the provider's mount, while there shall be one.
func observeProviderRoles(ctx context.Context, o observer) ([]Object, error) {
	path := "auth/" + ProviderPath(o.want.Cluster)
	if !o.want.has(KindAuth, "sys/"+path) {
		return nil, nil
	}
	return o.readAll(ctx, KindProviderRole, path+"/role", nil, o.fields)
}

// SetProviderSecret gives Vault the secret of its client at the provider. Vault asks the provider about itself. The client
// must hold a root token.
func (c *Client) SetProviderSecret(ctx context.Context, p v1alpha1.IdentityProvider, secret string) error {
	body := providerConfig(p)
	body["oidc_client_secret"] = secret
	err := c.put(ctx, providerConfigPath(c.cluster), body, nil)
	var refused *Error
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("vault does not know of a provider yet: run `ashlar up` (%w)", err)
	case errors.As(err, &refused) && refused.says("oidc discovery URL"), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("vault's machines do not find the provider at %s: it cannot be reached from there, its certificate is not of the declared CA, "+
			"or it calls itself something else; Vault's log says which (%w)", p.Issuer, err)
	}
	return err
}

// ErrNoProviderSecret says that people cannot log in at the provider yet.
var ErrNoProviderSecret = errors.New("the provider's client secret is not set: whoever has the unseal key sets it, by `ashlar user provider-secret`")

// LoginProvider logs somebody in at the provider, and returns a client that acts as that person, and their name there.
// show is given the address that the person must open in a browser of this machine.
func (c *Client) LoginProvider(ctx context.Context, show func(address string)) (*Client, Login, string, error) {
	fail := func(err error) (*Client, Login, string, error) {
		return nil, Login{}, "", fmt.Errorf("log in at the provider: %w", err)
	}
	page, err := listen(ctx)
	if err != nil {
		return fail(err)
	}
	defer page.Close()
	nonce := rand.Text()
	address, err := c.providerAddress(ctx, nonce)
	if err != nil {
		return fail(err)
	}
	show(address.String())
	state := address.Query().Get("state")
	code, err := page.wait(ctx, state)
	if err != nil {
		return fail(err)
	}
	session, login, err := c.redeemCode(ctx, state, code, nonce)
	if err != nil {
		return fail(err)
	}
	name, err := session.providerUser(ctx)
	if err != nil {
		return fail(err)
	}
	return session, login, name, nil
}

// providerAddress begins a login: Vault remembers its state, and that only who knows the nonce may end it.
func (c *Client) providerAddress(ctx context.Context, nonce string) (*url.URL, error) {
	var out struct {
		URL string `json:"auth_url"`
	}
	body := map[string]any{"role": RolePeople, "redirect_uri": callbackURL, "client_nonce": nonce}
	err := c.WithToken("").put(ctx, "auth/"+ProviderPath(c.cluster)+"/oidc/auth_url", body, &out)
	var refused *Error
	if errors.As(err, &refused) && (refused.says("could not load configuration") || refused.says("OIDC login is not configured")) {
		return nil, ErrNoProviderSecret
	}
	if err == nil && out.URL == "" {
		err = errors.New("vault cannot say where: it may not reach the provider; its log says why")
	}
	if err != nil {
		return nil, err
	}
	return url.Parse(out.URL)
}

// redeemCode ends a login: Vault exchanges the code at the provider.
func (c *Client) redeemCode(ctx context.Context, state, code, nonce string) (*Client, Login, error) {
	q := url.Values{"state": {state}, "code": {code}, "client_nonce": {nonce}}
	r, err := c.WithToken("").do(ctx, http.MethodGet, "auth/"+ProviderPath(c.cluster)+"/oidc/callback?"+q.Encode(), nil)
	if refused := (*Error)(nil); errors.As(err, &refused) {
		refused.Path, _, _ = strings.Cut(refused.Path, "?") // what comes after it is a secret
	}
	if err != nil {
		return nil, Login{}, err
	}
	login, err := r.login()
	return c.WithToken(login.Token), login, err
}

// providerUser is who the API servers are told that the client's person is.
func (c *Client) providerUser(ctx context.Context) (string, error) {
	token, _, err := c.Identity(ctx)
	if err != nil {
		return "", err
	}
	var claims struct {
		User string `json:"provider_user"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("vault's word is not a token")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err == nil && claims.User == "" {
		err = errors.New("vault does not say who it is: run `ashlar up`")
	}
	return claims.User, err
}
