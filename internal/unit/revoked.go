package unit

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Revoked is everything that was taken back before its time. It is one document in Vault, and holds no secret.
type Revoked struct {
	// Credentials are refused by whoever knows them by their kind, until they would have ended by themselves.
	Credentials []Revocation `json:"credentials,omitempty"`
	// Machines, and Users, are shut out until somebody lets them in again.
	Machines []ShutOut `json:"machines,omitempty"`
	Users    []ShutOut `json:"users,omitempty"`
}

// Revocation is a certificate, or whatever somebody still holds.
type Revocation struct {
	// CA, Serial (as Vault writes it), SHA256 (of the DER, in hexadecimal) and Name are a certificate's.
	CA     CA     `json:"ca,omitempty"`
	Serial string `json:"serial,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Name   string `json:"name,omitempty"`
	// User is refused by API servers, whatever proves who it is.
	User string `json:"user,omitempty"`
	// Of is the machine or the person that it was issued to.
	Of     string    `json:"of,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
	// Sever is from where connections end that are open already; the zero Prefix: from nowhere.
	Sever netip.Prefix `json:"sever,omitzero"`
}

// ShutOut is a machine or a user that may not log in any more.
type ShutOut struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Machine says whether a machine is shut out, and why.
func (r Revoked) Machine(name string) (ShutOut, bool) { return shutOut(r.Machines, name) }

// User says whether a user is shut out, and why.
func (r Revoked) User(name string) (ShutOut, bool) { return shutOut(r.Users, name) }

func shutOut(of []ShutOut, name string) (ShutOut, bool) {
	i := slices.IndexFunc(of, func(s ShutOut) bool { return s.Name == name })
	if i < 0 {
		return ShutOut{}, false
	}
	return of[i], true
}

// For is what a machine must know: API servers of users and their own CA's certificates, the bastion of users, etcd of its CAs',
// the load balancer from where to end connections, and each machine of its own certificates, to get others.
func (r Revoked) For(role v1alpha1.Role, machine string) []Revocation {
	var out []Revocation
	for _, c := range r.Credentials {
		etcd := c.CA == CAEtcdKubernetes || c.CA == CAEtcdOverlay
		api := c.CA == CAKubernetes || c.User != ""
		if role == v1alpha1.RoleEtcd && etcd || role == v1alpha1.RoleControlPlane && api || role == v1alpha1.RoleLB && api && c.Sever.IsValid() ||
			role == v1alpha1.RoleBastion && c.User != "" ||
			c.Serial != "" && c.Of == machine {
			out = append(out, c)
		}
	}
	return out
}

// CredentialPrefix is what API servers put before the digest of a certificate, when they say by what somebody was known.
const CredentialPrefix = "X509SHA256="

// RevokedReason begins what somebody is told whose credential was revoked, and what the audit log has of it.
const RevokedReason = "this credential was revoked"

// RevokedFile is Desired.Revoked, for the webhook.
const RevokedFile = "/etc/kubernetes/revoked.json"

func revokedFile(d Desired) File {
	b, err := json.MarshalIndent(append([]Revocation{}, d.Revoked...), "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return File{Path: RevokedFile, Mode: 0o600, Content: string(b) + "\n", Live: true}
}

// mostNamed is how many certificates are named in a condition: CEL takes expressions of 100,000 characters.
const mostNamed = 1000

// denyRevoked comes first among authorizers: it refuses what was revoked, and has no opinion on anything else. The conditions
// keep all other requests from the webhook, which costs them nothing then and cannot keep them waiting. While nothing
// is revoked there is no such authorizer.
func denyRevoked(d Desired) string {
	if len(d.Revoked) == 0 {
		return ""
	}
	var ids, users []string
	for _, r := range d.Revoked {
		if r.SHA256 != "" {
			ids = append(ids, CredentialPrefix+r.SHA256)
		}
		if r.User != "" {
			users = append(users, r.User)
		}
	}
	var terms []string
	const key = "'authentication.kubernetes.io/credential-id'"
	if known := quotedList(ids); len(ids) > mostNamed {
		terms = append(terms, key+" in request.extra") // the webhook finds out which
	} else if len(ids) > 0 {
		terms = append(terms, fmt.Sprintf("%[1]s in request.extra && request.extra[%[1]s].exists(c, c in %[2]s)", key, known))
	}
	if len(users) > 0 {
		terms = append(terms, "request.user in "+quotedList(users))
	}
	return fmt.Sprintf(`- type: Webhook
  name: revoked
  webhook:
    cacheAuthorizedRequests: false
    cacheUnauthorizedRequests: false
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
    - expression: %q
`, webhookConfig(d, "/authorize/revoked").Path, strings.Join(terms, " || "))
}

// CRLFile is where an etcd machine keeps the list of a CA's certificates that were revoked.
func CRLFile(ca CA) string { return path.Join(PKIDir, string(ca), "revoked.crl") }

// crlFile is there from the start, empty, so that no etcd has to be restarted for its first entry: it is read at each handshake.
func crlFile(d Desired, ca CA) File {
	return File{Path: CRLFile(ca), Mode: 0o644, Content: string(crl(d.Revoked, ca)), Live: true}
}

// crl lists a CA's revoked certificates for etcd, which asks of a list that it can be read, and not who signed it: it is worth
// what the machine's disk is worth, as the CA's certificate beside it. So it is made of the document, the same bytes each
// time, and does not run out as Vault's own list does. The key that signs it is no secret.
func crl(revoked []Revocation, ca CA) []byte {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(0, 0).UTC(), NextUpdate: time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC)}
	for _, r := range revoked {
		if serial := serialNumber(r.Serial); r.CA == ca && serial != nil {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: r.At.UTC()})
		}
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "revoked of " + string(ca)}, SubjectKeyId: []byte(ca), KeyUsage: x509.KeyUsageCRLSign}
	der, err := x509.CreateRevocationList(nil, list, issuer, key) // Ed25519 needs no randomness
	if err != nil {
		panic(err) // plain data
	}
	return der
}

// serialNumber reads what Vault writes: bytes in hexadecimal, with a colon between; nil if it is none.
func serialNumber(s string) *big.Int {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// Sever is the unit that ends connections.
const Sever = "sever"

// sever ends connections to the machine that were open before a revocation, from where it was used; whoever may connect
// does so again. It looks at the newest revocation only: earlier ones have been dealt with.
func sever(d Desired, lists []File, ports ...int) []Unit {
	newest := slices.MaxFunc(append([]Revocation{{}}, d.Revoked...), func(a, b Revocation) int { return a.At.Compare(b.At) })
	var from []string
	for _, r := range d.Revoked {
		if r.At.Equal(newest.At) && r.Sever.IsValid() {
			from = append(from, r.Sever.String())
		}
	}
	if len(from) == 0 {
		return nil
	}
	slices.Sort(from)
	var filter []string
	for _, p := range ports {
		filter = append(filter, fmt.Sprintf("sport = :%d", p))
	}
	to := "( " + strings.Join(filter, " or ") + " )"
	var clauses []string
	for _, f := range slices.Compact(from) {
		clauses = append(clauses, "dst "+f)
	}
	return []Unit{{
		Name: Sever,
		Args: []string{"/usr/bin/ss", "--kill", "--no-header", "--tcp", "state", "established",
			to + " and ( " + strings.Join(clauses, " or ") + " )"},
		// Its time is part of what it is: another revocation of the same place is another run.
		Env:   []string{"REVOKED_AT=" + newest.At.UTC().Format(time.RFC3339Nano)},
		Files: lists,
		Once:  true,
	}}
}
