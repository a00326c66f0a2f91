package claim

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/unit"
)

var pkiThreeCAs = Claim{
	ID:    "pki-three-cas",
	Says:  "Every cluster has three different CAs: Kubernetes, Etcd-Kubernetes, Etcd-Overlay",
	Holds: "the CAs are roots of their own with keys of their own, and each is trusted on its own plane only",
	Probe: probeThreeCAs,
}

func probeThreeCAs(ctx context.Context, t *Target) ([]Evidence, error) {
	roots := t.roots()
	for _, ca := range unit.CAs {
		if n := len(certificates(t.Desired.CAs[ca])); n != 1 {
			return nil, fmt.Errorf("CA %s has %d certificates, as while it is rotated, and this probe knows what to do with one", ca, n)
		}
	}
	leaves, err := t.leaves(ctx)
	if err != nil {
		return nil, err
	}
	trusted, err := t.trustFiles(ctx, roots)
	if err != nil {
		return nil, err
	}
	crossed, err := crossPlanes(ctx, t)
	return slices.Concat(disjoint(roots), crossed, ownIssuer(leaves, roots), trusted), err
}

// roots are the CAs' certificates; of one that is being rotated, the first.
func (t *Target) roots() map[unit.CA]*x509.Certificate {
	roots := map[unit.CA]*x509.Certificate{}
	for _, ca := range unit.CAs {
		if certs := certificates(t.Desired.CAs[ca]); len(certs) > 0 {
			roots[ca] = certs[0]
		}
	}
	return roots
}

// disjoint tries to verify each root by each other's key, and looks for a key that two of them share.
func disjoint(roots map[unit.CA]*x509.Certificate) []Evidence {
	var out []Evidence
	for _, a := range unit.CAs {
		out = append(out, attempt("verify the root "+string(a)+" by its own key", "", "", Allowed, roots[a].CheckSignatureFrom(roots[a])))
		for _, b := range unit.CAs {
			if a == b {
				continue
			}
			err := errors.New("the keys and names differ")
			if string(roots[a].RawSubjectPublicKeyInfo) == string(roots[b].RawSubjectPublicKeyInfo) || string(roots[a].RawSubject) == string(roots[b].RawSubject) {
				err = nil
			}
			out = append(out, attempt(fmt.Sprintf("take the root %s for %s", a, b), "", "", Refused, err))
		}
	}
	return out
}

// ownIssuer verifies each certificate in use by every root: exactly one must do, and for a file the one of its directory.
func ownIssuer(leaves []leaf, roots map[unit.CA]*x509.Certificate) []Evidence {
	var out []Evidence
	for _, l := range leaves {
		var issuers []string
		for _, ca := range unit.CAs {
			if l.cert.CheckSignatureFrom(roots[ca]) == nil {
				issuers = append(issuers, string(ca))
			}
		}
		e := Evidence{Attempt: "verify " + l.where + " by one root", From: l.machine, As: l.cert.Subject.CommonName, Want: Allowed, Got: Allowed,
			Answer: "by " + strings.Join(issuers, ", ")}
		switch {
		case len(issuers) != 1:
			e.Got, e.Answer = Refused, fmt.Sprintf("%d roots verify it", len(issuers))
		case strings.HasPrefix(l.where, unit.PKIDir) && path.Base(path.Dir(l.where)) != issuers[0]:
			e.Got, e.Answer = Refused, "it is of CA "+issuers[0]
		}
		out = append(out, e)
	}
	return out
}

// trustFiles reads what each machine trusts as a CA: that root and no other.
func (t *Target) trustFiles(ctx context.Context, roots map[unit.CA]*x509.Certificate) ([]Evidence, error) {
	found := make([][]Evidence, len(t.Desired.Machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range t.Desired.Machines {
		g.Go(func() error {
			list, err := run(ctx, t, m.Name, "find", unit.PKIDir, "-name", path.Base(unit.CAFile("")))
			if err != nil {
				return fmt.Errorf("find what %s trusts: %w", m.Name, err)
			}
			for _, file := range strings.Fields(string(list)) {
				text, err := t.Provider.Read(ctx, m.Name, file)
				if err != nil {
					return fmt.Errorf("read what %s trusts: %w", m.Name, err)
				}
				found[i] = append(found[i], trustFile(m.Name, file, certificates(string(text)), roots))
			}
			return nil
		})
	}
	err := g.Wait()
	var out []Evidence
	for _, f := range found {
		out = append(out, f...)
	}
	if err == nil && len(out) == 0 {
		err = errors.New("no machine has a file of trusted CAs")
	}
	return out, err
}

func trustFile(machine, file string, certs []*x509.Certificate, roots map[unit.CA]*x509.Certificate) Evidence {
	e := Evidence{Attempt: "find a foreign root in " + file, From: machine, As: "root", Want: Refused, Got: Refused, Answer: "it holds its own only"}
	want := roots[unit.CA(path.Base(path.Dir(file)))]
	if want == nil || len(certs) == 0 {
		e.Got, e.Answer = Allowed, "it holds no root of the cluster"
	}
	for _, c := range certs {
		if want != nil && !c.Equal(want) {
			e.Got, e.Answer = Allowed, "it also holds "+c.Subject.String()
		}
	}
	return e
}

// crossPlanes shows a genuine certificate of each CA to every plane: only the plane's own CA opens it.
func crossPlanes(ctx context.Context, t *Target) ([]Evidence, error) {
	holders, err := realHolders(ctx, t)
	if err != nil {
		return nil, err
	}
	return logins(ctx, t, planes(t), holders)
}
