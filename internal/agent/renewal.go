package agent

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// RenewAt is when a certificate is renewed: by half of its life, and up to a tenth of it earlier, so that certificates
// that were issued together are not renewed together. Its serial number says how much, and never changes its mind.
func RenewAt(c *x509.Certificate) time.Time {
	// The last bytes: of the first one Vault leaves a bit unused.
	b := append(make([]byte, 8), c.SerialNumber.Bytes()...)
	return renewAt(c.NotBefore, c.NotAfter, binary.BigEndian.Uint64(b[len(b)-8:]))
}

func renewAt(from, until time.Time, serial uint64) time.Time {
	life := until.Sub(from)
	jitter := float64(serial) / (1 << 64) // 0 … 1
	return from.Add(life/2 - time.Duration(jitter*float64(life)/10))
}

// renewal is all that is known when it is decided whether a certificate is renewed.
type renewal struct {
	have    *x509.Certificate // nil: none that can be used
	want    unit.Certificate
	trusted string // the CA's certificates
	issuer  string // the key that signs for the CA now; empty: any that is trusted
	now     time.Time
}

// policy says why a new certificate is needed; empty if it sees no reason.
type policy func(renewal) string

// policies are asked in order. Those after the first may rely on there being a certificate.
var policies = []policy{missing, expired, early, otherSubject, otherNames, otherIssuer, superseded, aged}

// due says why a new certificate is needed now; empty if it is not.
func due(have *x509.Certificate, want unit.Certificate, trusted, issuer string, now time.Time) string {
	r := renewal{have, want, trusted, issuer, now}
	for _, p := range policies {
		if reason := p(r); reason != "" {
			return reason
		}
	}
	return ""
}

func missing(r renewal) string {
	if r.have == nil {
		return "there is none that can be used"
	}
	return ""
}

func expired(r renewal) string {
	if !r.now.Before(r.have.NotAfter) {
		return "it has expired"
	}
	return ""
}

// early leaves clocks a minute to differ.
func early(r renewal) string {
	if r.have.NotBefore.After(r.now.Add(time.Minute)) {
		return "it is not valid yet"
	}
	return ""
}

func otherSubject(r renewal) string {
	switch subject := r.have.Subject; {
	case subject.CommonName != r.want.Profile.CommonName:
		return "it is for " + subject.CommonName
	case !sameStrings(subject.Organization, r.want.Profile.Organizations):
		return "its organizations differ"
	}
	return ""
}

func otherNames(r renewal) string {
	for _, name := range r.want.Profile.DNSNames {
		if !slices.Contains(r.have.DNSNames, name) {
			return "it lacks the name " + name
		}
	}
	for _, ip := range r.want.IPs {
		if !slices.ContainsFunc(r.have.IPAddresses, func(h net.IP) bool { return h.String() == ip }) {
			return "it lacks the address " + ip
		}
	}
	return ""
}

// otherIssuer also sees what outlives its CA. Vault signs no such thing, so the CA was made anew, with less time: Vault
// then gives a better certificate, or refuses, which is seen.
func otherIssuer(r renewal) string {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(r.trusted))
	chains, err := r.have.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: r.have.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return "its CA is not trusted any more"
	}
	for _, chain := range chains {
		if root := chain[len(chain)-1]; !r.have.NotAfter.After(root.NotAfter) {
			return ""
		}
	}
	return "it outlives its CA"
}

// superseded sees that its CA has a successor that signs.
func superseded(r renewal) string {
	if r.issuer != "" && hex.EncodeToString(r.have.AuthorityKeyId) != r.issuer {
		return "its CA has a successor"
	}
	return ""
}

func aged(r renewal) string {
	if !r.now.Before(RenewAt(r.have)) {
		return "half of its life is over"
	}
	return ""
}

func sameStrings(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
