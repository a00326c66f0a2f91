package phase

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// CertificateState is how a certificate stands.
type CertificateState string

// The states, the worst first.
const (
	Expired CertificateState = "expired"
	// Revoked is refused wherever it is shown.
	Revoked CertificateState = "revoked"
	// Overdue should have been renewed: something keeps its machine from it.
	Overdue CertificateState = "overdue"
	// Ending is a CA in the last tenth of its life: leaves that it signs soon outlive it.
	Ending CertificateState = "ending"
	Valid  CertificateState = "valid"
)

var certificateStates = []CertificateState{Expired, Revoked, Overdue, Ending, Valid}

// CertificateReport is a CA, or a certificate in use on a machine.
type CertificateReport struct {
	State CertificateState `json:"state"`
	CA    unit.CA          `json:"ca"`
	// Name is of its profile; empty for a CA itself.
	Name    string   `json:"name,omitempty"`
	Machine string   `json:"machine,omitempty"`
	Units   []string `json:"units,omitempty"`
	Subject string   `json:"subject"`
	Names   []string `json:"names,omitempty"`
	Serial  string   `json:"serial"`
	// NotAfter is when it expires, Renew when its machine gets another; a CA is not renewed by itself, and one of SSH never expires.
	NotAfter time.Time  `json:"notAfter,omitzero"`
	Renew    *time.Time `json:"renew,omitempty"`
}

// Certificates lists every CA and every certificate that a machine says it uses: what needs attention first.
func Certificates(ctx context.Context, c *Cluster, now time.Time) ([]CertificateReport, error) {
	machines, err := Look(ctx, c)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	out, err := reportCAs(trust.cas, now)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		out = append(out, reportLeaves(m, unit.For(c.desiredFor(m.Name, all, trust)), now)...)
	}
	out = append(out, reportSSH(trust.ssh, machines, now)...)
	revoked, err := c.revoked(ctx)
	if err != nil {
		return nil, err
	}
	markRevoked(out, revoked)
	sortCertificates(out)
	return out, nil
}

func markRevoked(all []CertificateReport, revoked unit.Revoked) {
	for i, c := range all {
		if slices.ContainsFunc(revoked.Credentials, func(r unit.Revocation) bool { return r.CA == c.CA && r.Serial == c.Serial }) {
			all[i].State = Revoked
		}
	}
}

func sortCertificates(all []CertificateReport) {
	slices.SortStableFunc(all, func(a, b CertificateReport) int {
		return cmp.Or(
			cmp.Compare(slices.Index(certificateStates, a.State), slices.Index(certificateStates, b.State)),
			cmp.Compare(placeOfCA(a.CA), placeOfCA(b.CA)),
			cmp.Compare(a.Name, b.Name), // the CA first
			cmp.Compare(a.Machine, b.Machine))
	})
}

func reportCAs(cas map[unit.CA]string, now time.Time) ([]CertificateReport, error) {
	var out []CertificateReport
	for ca, text := range cas {
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("read the certificate of CA %s: %w", ca, err)
			}
			out = append(out, CertificateReport{State: stateOfCA(cert.NotBefore, cert.NotAfter, now), CA: ca, Subject: cert.Subject.CommonName,
				Serial: serial(cert), NotAfter: cert.NotAfter})
		}
	}
	return out, nil
}

// serial is as Vault writes it.
func serial(cert *x509.Certificate) string {
	var pairs []string
	for _, b := range cert.SerialNumber.Bytes() {
		pairs = append(pairs, fmt.Sprintf("%02x", b))
	}
	return strings.Join(pairs, ":")
}

func stateOfCA(from, until, now time.Time) CertificateState {
	switch {
	case !now.Before(until):
		return Expired
	case until.Sub(now) < until.Sub(from)/10:
		return Ending
	}
	return Valid
}

// stateOfLeaf allows for the agent's rounds, and for a moment without Vault: a tenth of what is left when renewal is due.
func stateOfLeaf(renew, until, now time.Time) CertificateState {
	switch {
	case !now.Before(until):
		return Expired
	case now.After(renew.Add(until.Sub(renew) / 10)):
		return Overdue
	}
	return Valid
}

func reportLeaves(m MachineReport, units []unit.Unit, now time.Time) []CertificateReport {
	var out []CertificateReport
	for _, s := range m.Status.Certificates {
		r := CertificateReport{State: stateOfLeaf(s.Renew, s.NotAfter, now), CA: s.CA, Name: s.Name, Machine: m.Name, Subject: s.Subject,
			Serial: s.Serial, NotAfter: s.NotAfter, Renew: &s.Renew}
		for _, u := range units {
			for _, c := range u.Certificates {
				if c.Profile.CA == s.CA && c.Profile.Name == s.Name {
					r.Units = append(r.Units, u.Name)
					r.Names = slices.Concat(c.Profile.DNSNames, c.IPs)
				}
			}
		}
		out = append(out, r)
	}
	return out
}
