package intruder

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Send sends a request from the machine's own address, by the path as it stands, and returns the answer's status and body.
type Send func(ctx context.Context, method, path, token string, wrap bool, body map[string]any) (status int, answer []byte, err error)

// Intruder is a machine that was taken over, with all that it holds.
type Intruder struct {
	Cluster string
	// Own is the machine; Others, at least one, are those that it wants to be.
	Own    unit.Machine
	Others []unit.Machine
	// LeafTTL is the longest life that a certificate may have.
	LeafTTL time.Duration
	// CAs are the certificates of all CAs, as PEM: they are public.
	CAs map[unit.CA]string
	// CSR is one of its own making.
	CSR  string
	Send Send
	// Tokens and Secrets are what it holds from the beginning: its own token first, and whatever it found or stole.
	Tokens, Secrets []string
	// Issued, if it is set, is told of every certificate of its own that it was given, which nobody will use. Then it asks for none
	// wrapped: that is flagged at once.
	Issued func(ca unit.CA, certificate string)
}

// Over sends requests by an HTTP client to the Vault at host:port.
func Over(client *http.Client, address string) Send {
	return func(ctx context.Context, method, path, token string, wrap bool, body map[string]any) (int, []byte, error) {
		var payload io.Reader
		if body != nil {
			b, err := json.Marshal(body)
			if err != nil {
				return 0, nil, err
			}
			payload = bytes.NewReader(b)
		}
		req, err := http.NewRequestWithContext(ctx, method, "https://"+address, payload)
		if err != nil {
			return 0, nil, err
		}
		path, query, _ := strings.Cut(path, "?")
		req.URL = &url.URL{Scheme: "https", Host: address, Opaque: "//" + address + "/v1/" + path, RawQuery: query} // not tidied
		req.Header.Set("X-Vault-Request", "true")
		req.Header.Set("X-Vault-Token", token)
		if wrap {
			req.Header.Set("X-Vault-Wrap-TTL", "300s")
		}
		res, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		return res.StatusCode, answer, err
	}
}

// Run sends n random requests, and returns what it got that is not its own; empty: nothing.
func (i *Intruder) Run(ctx context.Context, choose Choose, n int) (prize string, err error) {
	j := *i
	j.Tokens, j.Secrets = slices.Clone(i.Tokens), slices.Clone(i.Secrets)
	for _, s := range i.script(choose, n) {
		prize, err := j.step(ctx, s)
		if err != nil || prize != "" {
			return prize, err
		}
	}
	return "", nil
}

func (i *Intruder) step(ctx context.Context, s Step) (prize string, err error) {
	token := i.Tokens[0]
	if s.Token == 0 { // mostly its own: the others may do less
		token = pick(i.Tokens, s.Which)
	}
	body := s.Body
	if s.Loot != "" {
		held := i.Tokens
		if s.Loot == "secret_id" {
			held = i.Secrets
		}
		body = map[string]any{s.Loot: pick(held, s.Which)}
		for k, v := range s.Body {
			body[k] = v
		}
	}
	status, answer, err := i.Send(ctx, s.Method, s.Path, token, s.Wrap, body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s, err)
	}
	if status == http.StatusBadRequest && strings.Contains(string(answer), "check-and-set") {
		return fmt.Sprintf("%s: it may write there", s), nil
	}
	if status >= http.StatusMultipleChoices || len(answer) == 0 {
		return "", nil
	}
	if prize = i.judge(answer); prize == "" {
		prize, err = i.keep(ctx, answer)
	}
	if prize != "" {
		prize = fmt.Sprintf("%s: %s", s, prize)
	}
	return prize, err
}

func pick(held []string, which int) string {
	if which == newest {
		return held[len(held)-1]
	}
	return held[which%len(held)]
}

// judge says what in an answer is not the machine's own.
func (i *Intruder) judge(answer []byte) string {
	texts := stringsIn(answer)
	for _, m := range i.Others {
		for _, mark := range []string{`"self":"` + m.Name + `"`, `"machine":"` + m.Name + `"`} {
			if strings.Contains(string(answer), mark) || slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, mark) }) {
				return "a document of " + m.Name
			}
		}
	}
	for _, text := range texts {
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" && block.Type != "CERTIFICATE REQUEST" && block.Type != "PUBLIC KEY" {
				return "a " + block.Type
			}
			if block.Type != "CERTIFICATE" {
				continue
			}
			if prize := i.judgeCertificate(block.Bytes); prize != "" {
				return prize
			}
		}
	}
	return ""
}

// judgeCertificate: a CA's own certificate is public; any other must be just one of the machine's own profiles.
func (i *Intruder) judgeCertificate(der []byte) string {
	for ca := range i.CAs {
		if slices.ContainsFunc(i.authorities(ca), func(a *x509.Certificate) bool { return slices.Equal(a.Raw, der) }) {
			return ""
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Sprintf("a certificate that cannot be read (%v)", err)
	}
	for _, p := range unit.ProfilesOf(i.Own.Role) {
		if i.isOf(cert, p.For(i.Own.Name)) {
			if i.Issued != nil {
				i.Issued(p.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
			}
			return ""
		}
	}
	return fmt.Sprintf("a certificate for %q, groups %q, names %q %v %v, CA %t, of %s", cert.Subject.CommonName, cert.Subject.Organization, cert.DNSNames,
		cert.IPAddresses, cert.URIs, cert.IsCA, cert.NotAfter.Sub(cert.NotBefore))
}

// authorities are the certificates of a CA.
func (i *Intruder) authorities(ca unit.CA) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode([]byte(i.CAs[ca])); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
	return out
}

// isOf: Vault takes the profile's names both as the common name and as DNS names, in any case. Of those that are not the
// profile's own common name to the letter, such as localhost, none is a user's.
func (i *Intruder) isOf(cert *x509.Certificate, p unit.Profile) bool {
	usages := 0
	if p.Server {
		usages++
	}
	if p.Client {
		usages++
	}
	names := append(slices.Clone(p.DNSNames), p.CommonName)
	signed := slices.ContainsFunc(i.authorities(p.CA), func(a *x509.Certificate) bool { return cert.CheckSignatureFrom(a) == nil })
	return signed && subset([]string{cert.Subject.CommonName}, names, strings.EqualFold) && subset(cert.Subject.Organization, p.Organizations, equal) && subset(cert.DNSNames, names, strings.EqualFold) &&
		len(cert.Subject.OrganizationalUnit)+len(cert.EmailAddresses)+len(cert.URIs) == 0 && (p.APIAddress || len(cert.IPAddresses) == 0) &&
		!cert.IsCA && cert.KeyUsage == x509.KeyUsageDigitalSignature && len(cert.ExtKeyUsage) == usages && len(cert.UnknownExtKeyUsage) == 0 &&
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) == p.Server && slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) == p.Client &&
		cert.NotAfter.Sub(cert.NotBefore) <= i.LeafTTL+time.Minute // signed a little into the past
}

func equal(a, b string) bool { return a == b }

func subset(some, all []string, same func(a, b string) bool) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.ContainsFunc(all, func(a string) bool { return same(s, a) }) })
}

// keep puts aside what may serve later, and says whom a new token makes of the intruder, if that is somebody else.
func (i *Intruder) keep(ctx context.Context, answer []byte) (string, error) {
	var a struct {
		Auth *struct {
			Token string `json:"client_token"`
		}
		Wrap *struct{ Token string } `json:"wrap_info"`
		Data struct {
			SecretID any `json:"secret_id"`
		}
	}
	if json.Unmarshal(answer, &a) != nil {
		return "", nil
	}
	if id, ok := a.Data.SecretID.(string); ok && !slices.Contains(i.Secrets, id) {
		i.Secrets = append(i.Secrets, id)
	}
	if a.Wrap != nil && a.Wrap.Token != "" {
		i.Tokens = append(i.Tokens, a.Wrap.Token)
	}
	if a.Auth == nil || a.Auth.Token == "" || slices.Contains(i.Tokens, a.Auth.Token) {
		return "", nil
	}
	i.Tokens = append(i.Tokens, a.Auth.Token)
	return i.judgeToken(ctx, a.Auth.Token)
}

// judgeToken asks Vault whom a token makes of its holder.
func (i *Intruder) judgeToken(ctx context.Context, token string) (string, error) {
	status, answer, err := i.Send(ctx, http.MethodGet, "auth/token/lookup-self", token, false, nil)
	if err != nil || status != http.StatusOK {
		return "", err
	}
	var a struct {
		Data struct {
			Policies         []string
			IdentityPolicies []string `json:"identity_policies"`
			Meta             map[string]string
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return "", fmt.Errorf("read what a token is: %w", err)
	}
	own := []string{vault.PolicyName(i.Cluster, i.Own.Role)}
	if !slices.Equal(a.Data.Policies, own) || len(a.Data.IdentityPolicies) > 0 || a.Data.Meta["role_name"] != i.Own.Name {
		return fmt.Sprintf("a token of %s with %v", a.Data.Meta["role_name"], a.Data.Policies), nil
	}
	return "", nil
}

// stringsIn are all strings anywhere in a JSON document.
func stringsIn(document []byte) []string {
	var root any
	if json.Unmarshal(document, &root) != nil {
		return []string{string(document)}
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(root)
	return out
}
