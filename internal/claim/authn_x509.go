package claim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// holder is somebody with a certificate.
type holder struct {
	name string
	ca   unit.CA // whose certificate it is; empty: none of the cluster's
	cert *tls.Certificate
}

// probeX509 shows every certificate to every plane, and asks each plane whom it trusts.
func probeX509(ctx context.Context, t *Target) ([]Evidence, error) {
	holders, err := realHolders(ctx, t)
	if err != nil {
		return nil, err
	}
	forged, err := forgeries(t)
	if err != nil {
		return nil, err
	}
	all := planes(t)
	evidence, err := logins(ctx, t, all, append(append(holders, forged...), holder{name: "nobody"}))
	if err != nil {
		return nil, err
	}
	trust := make([]Evidence, len(all))
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range all {
		g.Go(func() error {
			a, err := p.ask(ctx, t, p.path, nil)
			trust[i] = trusts(p, a.asked, t.Desired.CAs)
			return err
		})
	}
	err = g.Wait()
	return append(evidence, trust...), err
}

// logins shows each certificate to each plane: those of the plane's own CA must be known there, no other may be.
func logins(ctx context.Context, t *Target, planes []plane, holders []holder) ([]Evidence, error) {
	evidence := make([]Evidence, len(planes)*len(holders))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, p := range planes {
		for j, h := range holders {
			g.Go(func() error {
				a, err := p.askAgain(ctx, t, p.path, h.cert)
				if err != nil {
					return err
				}
				e := Evidence{Attempt: "log in at " + p.name, From: p.vantage, As: h.name, Want: Refused, Answer: a.said()}
				if h.ca == p.ca {
					e.Want = Allowed
				}
				if e.Got, err = authenticated(p.closes, a); err != nil {
					return fmt.Errorf("%s as %s: %w", p.name, h.name, err)
				}
				evidence[i*len(holders)+j] = e
				return nil
			})
		}
	}
	return evidence, g.Wait()
}

// authenticated decides whether an answer means that the server knew who asked. Only a TLS alert (where the plane
// closes the door) or a 401 is a refusal; whatever is allowed to be known but not to act has been authenticated.
func authenticated(closes bool, a answer) (Expectation, error) {
	switch {
	case a.alert != nil && closes, a.status == 401 && !closes:
		return Refused, nil
	case a.alert != nil, a.status >= 500, a.status == 0:
		return "", fmt.Errorf("unexpected answer: %s", a.said())
	default:
		return Allowed, nil
	}
}

// trusts compares the authorities that a server names in its handshake with those that it may trust: so even a CA
// that nobody has a certificate of is noticed.
func trusts(p plane, asked [][]byte, cas map[unit.CA]string) Evidence {
	e := Evidence{Attempt: "have " + p.name + " name a CA that is not its own", From: p.vantage, As: "nobody", Want: Refused, Got: Refused,
		Answer: fmt.Sprintf("it names %d", len(asked))}
	var expected [][]byte
	for _, ca := range p.accepts {
		for _, c := range certificates(cas[ca]) {
			expected = append(expected, c.RawSubject)
		}
	}
	if len(asked) == 0 && len(expected) > 0 {
		e.Got, e.Answer = Allowed, "it names none, so any might do"
	}
	for _, name := range asked {
		i := slices.IndexFunc(expected, func(b []byte) bool { return bytes.Equal(b, name) })
		if i < 0 {
			var rdn pkix.RDNSequence
			var n pkix.Name
			if _, err := asn1.Unmarshal(name, &rdn); err == nil {
				n.FillFromRDNSequence(&rdn)
			}
			e.Got, e.Answer = Allowed, "it also trusts "+n.String()
			break
		}
		expected = slices.Delete(expected, i, i+1)
	}
	return e
}

func certificates(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
}

// realHolders are the administrator, and what a control-plane machine has for the other planes. These keys stay in
// memory, for the length of the probe.
func realHolders(ctx context.Context, t *Target) ([]holder, error) {
	admin, err := tls.X509KeyPair(t.Admin.CertData, t.Admin.KeyData)
	if err != nil {
		return nil, fmt.Errorf("read the administrator's certificate: %w", err)
	}
	out := []holder{{"admin, of CA kubernetes", unit.CAKubernetes, &admin}}
	machine := t.Desired.WithRole(v1alpha1.RoleControlPlane)[0].Name
	for _, want := range []struct {
		ca   unit.CA
		name string
	}{{unit.CAEtcdKubernetes, "kube-apiserver"}, {unit.CAEtcdOverlay, "calico-kube-controllers"}, {unit.CAFrontProxy, "front-proxy-client"}} {
		p := unit.Profile{CA: want.ca, Name: want.name}
		cert, err := machinePair(ctx, t, machine, p)
		if err != nil {
			return nil, err
		}
		out = append(out, holder{fmt.Sprintf("%s, of CA %s", want.name, want.ca), want.ca, &cert})
	}
	return out, nil
}

// machinePair borrows a machine's certificate.
func machinePair(ctx context.Context, t *Target, machine string, p unit.Profile) (tls.Certificate, error) {
	cert, err := t.Provider.Read(ctx, machine, p.CertFile())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("borrow a certificate of %s: %w", machine, err)
	}
	key, err := t.Provider.Read(ctx, machine, p.KeyFile())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("borrow a certificate of %s: %w", machine, err)
	}
	return tls.X509KeyPair(cert, key)
}

// forgeries claim to be the administrator: by a CA that looks like the real one to the last byte of its name and key
// identifier, by a CA of another name, expired, and by nobody's word but their own.
func forgeries(t *Target) ([]holder, error) {
	real := certificates(t.Desired.CAs[unit.CAKubernetes])
	if len(real) == 0 {
		return nil, fmt.Errorf("the cluster has no Kubernetes CA")
	}
	twin := &x509.Certificate{Subject: real[0].Subject, RawSubject: real[0].RawSubject, SubjectKeyId: real[0].SubjectKeyId}
	other := &x509.Certificate{Subject: pkix.Name{CommonName: "another CA"}}
	var out []holder
	for _, f := range []struct {
		name string
		ca   *x509.Certificate
		end  time.Duration
	}{
		{"admin, forged under the CA's own name", twin, time.Hour},
		{"admin, of another CA", other, time.Hour},
		{"admin, forged and expired", twin, -time.Minute},
		{"admin, self-signed", nil, time.Hour},
	} {
		cert, err := forge(f.ca, t.Now().Add(f.end))
		if err != nil {
			return nil, fmt.Errorf("forge a certificate: %w", err)
		}
		out = append(out, holder{name: f.name, cert: cert})
	}
	return out, nil
}

func forge(ca *x509.Certificate, end time.Time) (*tls.Certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(end.UnixNano()), Subject: pkix.Name{CommonName: "admin", Organization: []string{unit.GroupAdmins, "system:masters"}},
		NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		ca, caKey = leaf, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
