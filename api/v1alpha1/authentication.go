package v1alpha1

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
)

const (
	maxIssuers    = 63 // the API server takes 64, and one is the cluster's own Vault
	minReason     = 10
	vaultIssuer   = "https://vault:8200/v1/identity/oidc"
	userPattern   = `^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$` // without a colon, so that nobody is taken for a component
	issuerPattern = `^https://[!-~]+$`
	wordPattern   = `^[!-~]+$`
	sha256Pattern = `^[0-9a-f]{64}$`
)

var (
	user      = regexp.MustCompile(userPattern)
	issuerURL = regexp.MustCompile(issuerPattern)
	word      = regexp.MustCompile(wordPattern)
	digest    = regexp.MustCompile(sha256Pattern)

	// ownUsers are the cluster's: the operator, and whom `ashlar verify` logs in as.
	ownUsers = []string{"admin", "ashlar-verify"}
)

// UserName says whether people, robots and groups may be called so.
func UserName(name string) bool { return user.MatchString(name) }

func (e *Errors) authentication(c *Cluster) {
	const path = "spec.authentication"
	a := c.Spec.Authentication
	if p := a.IdentityProvider; p != nil {
		e.identityProvider(path+".identityProvider", *p)
	}
	e.robots(path+".robots", a.Robots)
	e.oidc(path+".oidc", a.OIDC, "https://kubernetes.default.svc."+c.Spec.Network.ClusterDomain)
	e.staticTokens(path+".staticTokens", a.StaticTokens)
}

func (e *Errors) identityProvider(path string, p IdentityProvider) {
	e.issuer(path+".issuer", p.Issuer)
	e.line(path+".clientID", p.ClientID)
	e.certificates(path+".certificateAuthority", p.CertificateAuthority)
	for _, claim := range []struct{ path, name string }{{".userClaim", p.UserClaim}, {".groupsClaim", p.GroupsClaim}} {
		if claim.name != "" && !word.MatchString(claim.name) {
			e.add(path+claim.path, "must be the name of a claim, such as email, not %s", quote(claim.name))
		}
	}
}

func (e *Errors) robots(path string, robots []Robot) {
	names := places{}
	for i, r := range robots {
		at := fmt.Sprintf("%s[%d]", path, i)
		e.notOwn(at+".name", r.Name)
		if e.userName(at+".name", r.Name) {
			e.once(names, at+".name", r.Name)
		}
		for j, g := range r.Groups {
			e.userName(fmt.Sprintf("%s.groups[%d]", at, j), g)
		}
		if len(r.CIDRs) == 0 {
			e.add(at+".cidrs", "must have at least one range of addresses, such as 10.20.0.0/16")
		}
		for j, c := range r.CIDRs {
			e.source(fmt.Sprintf("%s.cidrs[%d]", at, j), c)
		}
	}
}

// source checks a range that somebody may log in from.
func (e *Errors) source(path, value string) {
	p, err := netip.ParsePrefix(value)
	switch {
	case err != nil || p.Addr().Is4In6():
		e.add(path, "must be an IPv4 or IPv6 range such as 10.20.0.0/16 or 2001:db8::/32, not %s", quote(value))
	case p != p.Masked():
		e.add(path, "must begin at the first address of its range: %s, not %s", p.Masked(), p)
	case p.Bits() == 0:
		e.add(path, "must not be every address: a secret that works from anywhere is worth stealing")
	}
}

func (e *Errors) oidc(path string, issuers []OIDCIssuer, serviceAccounts string) {
	if len(issuers) > maxIssuers {
		e.add(path, "must have at most %d issuers, not %d: the API server takes %d, and one is the cluster's Vault", maxIssuers, len(issuers), maxIssuers+1)
		return
	}
	if n := expressionsLength(issuers); n > maxExpressions {
		e.add(path, "must have at most %d characters of expressions in all, not %d", maxExpressions, n)
		return
	}
	urls := places{}
	for i, o := range issuers {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch o.Issuer {
		case vaultIssuer, serviceAccounts: // the API server does not start with one that it has already
			e.add(at+".issuer", "must not be %s: the API servers know the cluster's own issuers", o.Issuer)
		default:
			e.issuer(at+".issuer", o.Issuer)
			e.once(urls, at+".issuer", o.Issuer)
		}
		if len(o.Audiences) == 0 {
			e.add(at+".audiences", "must have at least one, or a token that was made for somebody else would do")
		}
		audiences := places{}
		for j, a := range o.Audiences {
			e.line(fmt.Sprintf("%s.audiences[%d]", at, j), a)
			e.once(audiences, fmt.Sprintf("%s.audiences[%d]", at, j), a)
		}
		e.certificates(at+".certificateAuthority", o.CertificateAuthority)
		e.claims(at, o)
	}
}

// claims checks what is made of a token's claims.
func (e *Errors) claims(path string, o OIDCIssuer) {
	username := e.compile(path+".username", o.Username, "text", cel.StringType)
	if o.Groups != "" {
		e.compile(path+".groups", o.Groups, "text or a list of texts", cel.StringType, cel.ListType(cel.StringType), cel.ListType(cel.DynType), cel.ListType(cel.AnyType))
	}
	expressions, checked := places{}, []*cel.Ast{username}
	for i, r := range o.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		checked = append(checked, e.compile(at+".expression", r.Expression, "true or false", cel.BoolType))
		e.once(expressions, at+".expression", r.Expression)
		e.line(at+".message", r.Message)
	}
	verified := func(a *cel.Ast) bool { return selects(a, "email_verified") }
	if !slices.Contains(checked, nil) && mentions(username, "email") && !slices.ContainsFunc(checked, verified) {
		e.add(path+".username", "must not rely on claims.email alone, which anybody may claim: add a rule such as claims.email_verified == true")
	}
}

// ValidateStaticToken returns all that is wrong with one token's declaration.
func ValidateStaticToken(t StaticToken) Errors {
	var errs Errors
	errs.staticTokens("token", []StaticToken{t})
	for i := range errs {
		errs[i].Path = strings.TrimPrefix(errs[i].Path, "token[0].")
	}
	return errs
}

func (e *Errors) staticTokens(path string, tokens []StaticToken) {
	names, digests := places{}, places{}
	for i, t := range tokens {
		at := fmt.Sprintf("%s[%d]", path, i)
		if e.userName(at+".name", t.Name) {
			e.once(names, at+".name", t.Name)
		}
		e.notOwn(at+".user", t.User)
		e.subject(at+".user", t.User)
		for j, g := range t.Groups {
			e.subject(fmt.Sprintf("%s.groups[%d]", at, j), g)
		}
		switch {
		case t.SHA256 == "":
			e.add(at+".sha256", "is required")
		case !digest.MatchString(t.SHA256): // and do not repeat it: it may be the token itself
			e.add(at+".sha256", "must be the SHA-256 of the token: 64 hexadecimal digits, 0 to 9 and a to f")
		default:
			e.once(digests, at+".sha256", t.SHA256)
		}
		if t.Expires.IsZero() {
			e.add(at+".expires", "is required")
		}
		if e.line(at+".reason", t.Reason) && utf8.RuneCountInString(strings.TrimSpace(t.Reason)) < minReason {
			e.add(at+".reason", "must say why nothing better will do, in at least %d characters", minReason)
		}
	}
}

func (e *Errors) notOwn(path, user string) {
	if slices.Contains(ownUsers, user) {
		e.add(path, "must not be %s, who is a user of the cluster's own", user)
	}
}

// userName checks what people, robots and their groups may be called.
func (e *Errors) userName(path, name string) bool {
	switch {
	case name == "":
		e.add(path, "is required")
	case !user.MatchString(name):
		e.add(path, "must be at most 63 small letters, digits, dots, dashes and underscores, a letter or digit at both ends, not %s", quote(name))
	default:
		return true
	}
	return false
}

// subject checks a user or a group that does not come from Vault.
func (e *Errors) subject(path, name string) {
	if e.line(path, name) && (strings.HasPrefix(name, "system:") || strings.HasPrefix(name, "ashlar:")) {
		e.add(path, "must not begin with system: or ashlar:, as the cluster's own do, not %s", quote(name))
	}
}

func (e *Errors) issuer(path, value string) {
	u, err := url.Parse(value)
	switch {
	case value == "":
		e.add(path, "is required")
	case err == nil && (u.User != nil || strings.ContainsAny(value, "?#")): // and do not repeat it: it may have a password
		e.add(path, "must be a host and perhaps a path, without a user, a query or a fragment")
	case err != nil || !issuerURL.MatchString(value) || u.Hostname() == "":
		e.add(path, "must be a URL such as https://login.example.org, not %s", quote(value))
	}
}

// certificates checks a PEM bundle. Parsers skip what they cannot read, and a certificate that is skipped is missed much later.
func (e *Errors) certificates(path, bundle string) {
	found, rest := 0, []byte(bundle)
	for block, after := pem.Decode(rest); block != nil; block, after = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || len(block.Headers) > 0 || err != nil {
			break
		}
		found, rest = found+1, after
	}
	if bundle != "" && (found == 0 || found != strings.Count(bundle, "-----BEGIN") || strings.TrimSpace(string(rest)) != "") {
		e.add(path, "must be certificates in PEM and nothing else (-----BEGIN CERTIFICATE-----)")
	}
}

// line checks what is shown in tables and logs, where it must not look like more than it is.
func (e *Errors) line(path, value string) bool {
	switch {
	case value == "":
		e.add(path, "is required")
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		e.add(path, "must be one line of text, not %s", quote(value))
	default:
		return true
	}
	return false
}

// places are where values were seen that must be unique.
type places map[string]string

func (e *Errors) once(seen places, path, value string) {
	if first, again := seen[value]; again && value != "" {
		e.add(path, "%s is already %s", quote(value), first)
		return
	}
	seen[value] = path
}
