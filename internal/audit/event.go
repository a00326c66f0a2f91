// Package audit reads Vault's audit logs: who got what, when and from where, and whether anybody accounts for it. Lines in,
// events out; only Search touches a machine.
package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Kind is what happened.
type Kind string

// The kinds of event.
const (
	Login Kind = "login"
	// Identity is Vault's word to the API server about a person or a robot.
	Identity Kind = "identity"
	Issued   Kind = "issued"
	Revoked  Kind = "revoked"
	// SSH is a signed SSH key: a person's, or a machine's own host key.
	SSH Kind = "ssh"
	// CA is the making or changing of an authority.
	CA Kind = "ca"
)

// Event is one thing that somebody had Vault do.
type Event struct {
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	// Who did it: a machine, a user, a robot, the operator, or root. Of a login: who it became.
	Who string `json:"who"`
	// Person says that Who is a user or a robot.
	Person bool `json:"person,omitempty"`
	// Instance is that of a cloud that the machine was then.
	Instance string `json:"instance,omitempty"`
	From     string `json:"from"`
	Path     string `json:"path"`
	// Refused is why Vault did not.
	Refused string `json:"refused,omitempty"`

	// Of a certificate; Serial as Vault writes it, and that of an SSH key as sshd does.
	CA       unit.CA    `json:"ca,omitempty"`
	Profile  string     `json:"profile,omitempty"`
	Serial   string     `json:"serial,omitempty"`
	Name     string     `json:"name,omitempty"`
	Names    []string   `json:"names,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	NotAfter *time.Time `json:"notAfter,omitempty"`
	// Certificate is it, as PEM; IsCA says that it is a CA's own.
	Certificate string `json:"-"`
	IsCA        bool   `json:"-"`
	// Wrapped says that the answer was handed over wrapped: then Vault's log does not have the certificate.
	Wrapped bool `json:"wrapped,omitempty"`

	// Flag says why nobody accounts for it.
	Flag string `json:"flag,omitempty"`
}

// Alive says whether a certificate was issued that is still good by its dates.
func (e Event) Alive(now time.Time) bool {
	return e.Kind == Issued && e.Refused == "" && e.NotAfter != nil && now.Before(*e.NotAfter)
}

// Texts are in the lines that Events understands. Of a log nearly all is agents asking for news, which searching leaves out.
func Texts(cluster string) []string {
	return []string{`"path":"` + cluster + `/pki/`, `"path":"` + cluster + `/ssh/`, `"path":"auth/` + cluster + `/`, `"path":"identity/oidc/token/`}
}

// Events reads lines of logs, oldest event first. What is not understood is left out, as is each request: its response has it all.
func Events(cluster string, lines []byte) []Event {
	var out []Event
	for raw := range bytes.Lines(lines) {
		if !bytes.Contains(raw, []byte(`"type":"response"`)) {
			continue
		}
		l, ok := Parse(raw)
		if !ok {
			continue
		}
		if e, ok := l.event(cluster); ok {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return out
}

// Line is what matters of a line of a log. Values that could be secret are hashed in it.
type Line struct {
	Time  time.Time
	Type  string // request or response
	Error string
	Auth  struct {
		Metadata map[string]string
		Policies []string
	}
	Request struct {
		Operation, Path string
		RemoteAddress   string `json:"remote_address"`
		Data            certificateData
	}
	Response struct {
		Data certificateData
		Wrap struct {
			Token string
		} `json:"wrap_info"`
	}
}

// certificateData is what a PKI engine was told or said; other engines put anything here.
type certificateData struct {
	Serial      any `json:"serial_number"`
	Certificate any `json:"certificate"`
	CommonName  any `json:"common_name"`
	SignedKey   any `json:"signed_key"`
	Principals  any `json:"valid_principals"`
	// Error is why it did not, hashed.
	Error any `json:"error"`
}

// Parse reads a line.
func Parse(line []byte) (Line, bool) {
	var l Line
	return l, json.Unmarshal(line, &l) == nil
}

// Machine is whose token it was; of a login, whose it became. A member of a group is called by its instance.
func (l Line) Machine() string {
	role := l.Auth.Metadata["role"]
	switch {
	case l.instance() == "":
		return l.Auth.Metadata["role_name"]
	case slices.ContainsFunc(l.Auth.Policies, func(p string) bool { return strings.HasSuffix(p, "-pool-"+role) }):
		return unit.MemberName(l.instance(), l.Auth.Metadata["region"])
	}
	return role
}

// instance is that of a cloud whose token it was.
func (l Line) instance() string { return l.Auth.Metadata["instance_id"] }

// Serial is the number of the certificate that was issued or revoked, in hexadecimal as big.Int writes it, or empty.
func (l Line) Serial() string { return PlainSerial(l.VaultSerial()) }

// VaultSerial is the same as Vault writes it: bytes with colons between.
func (l Line) VaultSerial() string {
	for _, v := range []any{l.Response.Data.Serial, l.Request.Data.Serial} {
		if s := plain(v); s != "" {
			return s
		}
	}
	if c := parseCertificate(l.certificate()); c != nil {
		return Colons(c)
	}
	return ""
}

func (l Line) certificate() string {
	return cmp.Or(plain(l.Response.Data.Certificate), plain(l.Request.Data.Certificate))
}

// plain is a text that was not hashed.
func plain(v any) string {
	if s, ok := v.(string); ok && !strings.HasPrefix(s, "hmac-") {
		return s
	}
	return ""
}

// PlainSerial writes a serial number of Vault's (bytes with colons between) as big.Int does.
func PlainSerial(s string) string {
	return strings.TrimLeft(strings.NewReplacer(":", "", "-", "").Replace(strings.ToLower(s)), "0")
}

// Colons writes a certificate's serial number as Vault does.
func Colons(c *x509.Certificate) string {
	var parts []string
	for _, b := range c.SerialNumber.Bytes() {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

// who acted.
func (l Line) who(cluster string) (name string, person bool) {
	switch {
	case l.Auth.Metadata["username"] != "":
		return l.Auth.Metadata["username"], true
	case l.Machine() != "":
		return l.Machine(), slices.Contains(l.Auth.Policies, cluster+"-people")
	case slices.Contains(l.Auth.Policies, "root"):
		return "root", false
	case l.Auth.Metadata["user"] != "":
		return unit.ProviderPrefix + l.Auth.Metadata["user"], true
	}
	return "", false
}

func (l Line) event(cluster string) (Event, bool) {
	e := Event{Time: l.Time, From: l.Request.RemoteAddress, Path: l.Request.Path, Refused: strings.TrimSpace(l.Error)}
	if e.Refused == "" && l.Response.Data.Error != nil {
		e.Refused = "refused, and the log has the reason as a hash"
	}
	e.Who, e.Person = l.who(cluster)
	e.Instance = l.instance()
	path := l.Request.Path
	if rest, ok := strings.CutPrefix(path, cluster+"/pki/"); ok {
		return e.pki(l, rest)
	}
	if rest, ok := strings.CutPrefix(path, cluster+"/ssh/"); ok {
		return e.ssh(l, rest)
	}
	switch {
	case l.Request.Operation != "update" && l.Request.Operation != "read":
		return e, false
	case strings.HasPrefix(path, "identity/oidc/token/"):
		e.Kind = Identity
	case strings.HasPrefix(path, "auth/"+cluster+"/") && (strings.HasSuffix(path, "/login") || strings.Contains(path, "/login/") || strings.HasSuffix(path, "/oidc/callback")):
		e.Kind = Login
		if e.Who == "" && strings.Contains(path, "/login/") {
			e.Who, e.Person = path[strings.LastIndex(path, "/")+1:], true // refused: nobody's token came of it
		}
	default:
		return e, false
	}
	return e, true
}

func (e Event) pki(l Line, rest string) (Event, bool) {
	if l.Request.Operation != "update" && l.Request.Operation != "create" {
		return e, false
	}
	ca, what, _ := strings.Cut(rest, "/")
	verb, name, _ := strings.Cut(what, "/")
	e.CA, e.Serial, e.Certificate = unit.CA(ca), l.VaultSerial(), l.certificate()
	switch verb {
	case "sign", "issue":
		e.Kind, e.Profile, e.Wrapped, e.Name = Issued, name, l.Response.Wrap.Token != "", plain(l.Request.Data.CommonName)
	case "revoke":
		e.Kind = Revoked
	case "root", "intermediate", "issuers", "issuer", "sign-self-issued", "sign-intermediate", "keys", "key", "config":
		e.Kind = CA
	default:
		return e, false // roles, tidying
	}
	e.describe()
	return e, true
}

// Stored is the issuance of a certificate that Vault keeps and its log has forgotten.
func Stored(ca unit.CA, who, text string) Event {
	e := Event{Kind: Issued, CA: ca, Who: who, Certificate: text}
	e.describe()
	return e
}

// describe reads the certificate.
func (e *Event) describe() {
	c := parseCertificate(e.Certificate)
	if c == nil {
		return
	}
	sum := sha256.Sum256(c.Raw)
	until := c.NotAfter
	e.Name, e.SHA256, e.NotAfter, e.Names = c.Subject.CommonName, hex.EncodeToString(sum[:]), &until, c.DNSNames
	e.Serial, e.IsCA = Colons(c), c.IsCA
	for _, ip := range c.IPAddresses {
		e.Names = append(e.Names, ip.String())
	}
}

func parseCertificate(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}
