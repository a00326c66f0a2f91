package claim

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

var pkiRolling = Claim{
	ID:    "pki-rolling",
	Says:  "Handles leasing, key revocation, key rolling, Audits CA events",
	Holds: "every CA can be replaced, and nothing of a predecessor is left: no key that signs, no machine that trusts it, no certificate in use",
	Probe: probeRolling,
}

// probeRolling looks for what a rotation that skipped a step leaves behind.
func probeRolling(ctx context.Context, t *Target) ([]Evidence, error) {
	var journal rotation.Journal
	if _, err := t.Vault.ReadRotation(ctx, &journal); err != nil {
		return nil, err
	}
	signers := map[unit.CA]string{}
	for _, ca := range unit.CAs {
		id, err := vault.KeyID(t.Desired.CAs[ca])
		if err != nil {
			return nil, fmt.Errorf("CA %s: %w", ca, err)
		}
		signers[ca] = id
	}
	leaves, err := t.leaves(ctx)
	if err != nil {
		return nil, err
	}
	issuers, err := t.otherIssuers(ctx, journal)
	if err != nil {
		return nil, err
	}
	trusted, err := t.trustFiles(ctx, t.roots())
	if err != nil {
		return nil, err
	}
	overSSH, err := t.rollingSSH(ctx, journal)
	if err != nil {
		return nil, err
	}
	sealing, err := t.retired(ctx, journal)
	return slices.Concat([]Evidence{unfinished(journal)}, issuers, bySigner(leaves, signers), trusted, overSSH, sealing), err
}

// unfinished says whether a rotation stands somewhere in the middle.
func unfinished(j rotation.Journal) Evidence {
	e := Evidence{Attempt: "find a rotation that was begun and not finished", From: "vault", As: "operator", Want: Refused, Got: Refused, Answer: "there is none"}
	if r := j.Current; r != nil {
		e.Got, e.Answer = Allowed, fmt.Sprintf("%s stands at %s", rotation.Join(j.Targets()), r.Stage)
	}
	return e
}

// otherIssuers asks Vault for keys that could sign for a CA beside its own, and for those that were destroyed by name.
func (t *Target) otherIssuers(ctx context.Context, j rotation.Journal) ([]Evidence, error) {
	found := make([][]Evidence, len(unit.CAs))
	g, ctx := errgroup.WithContext(ctx)
	for i, ca := range unit.CAs {
		g.Go(func() error {
			ids, err := t.Vault.Issuers(ctx, ca)
			if err != nil {
				return err
			}
			found[i] = []Evidence{oneIssuer(ca, ids)}
			for target, r := range j.Past {
				if target.CA() != ca {
					continue
				}
				_, err := t.Vault.IssuerCertificate(ctx, ca, r.Old)
				if err != nil && !errors.Is(err, vault.ErrNotFound) {
					return err
				}
				found[i] = append(found[i], attempt("find the predecessor of CA "+string(ca), "vault", "operator", Refused, err))
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(found...), err
}

func oneIssuer(ca unit.CA, ids []string) Evidence {
	e := Evidence{Attempt: "find another key that signs for CA " + string(ca), From: "vault", As: "operator", Want: Refused, Got: Refused, Answer: "it has one"}
	if len(ids) != 1 {
		e.Got, e.Answer = Allowed, fmt.Sprintf("it has %d issuers", len(ids))
	}
	return e
}

// bySigner looks at whose key signed each certificate in use.
func bySigner(leaves []leaf, signers map[unit.CA]string) []Evidence {
	var out []Evidence
	for _, l := range leaves {
		e := Evidence{Attempt: "find a predecessor's signature in " + l.where, From: l.machine, As: l.cert.Subject.CommonName, Want: Refused, Got: Allowed,
			Answer: "it is by key " + hex.EncodeToString(l.cert.AuthorityKeyId) + ", which is no CA's"}
		for ca, id := range signers {
			if hex.EncodeToString(l.cert.AuthorityKeyId) == id {
				e.Got, e.Answer = Refused, "it is by the key of CA "+string(ca)
			}
		}
		out = append(out, e)
	}
	return out
}

// retired asks whether the version of the encryption key before the last rotation still decrypts.
func (t *Target) retired(ctx context.Context, j rotation.Journal) ([]Evidence, error) {
	r, ok := j.Past[rotation.EncryptionKey]
	if !ok {
		return nil, nil
	}
	_, oldest, err := t.Vault.TransitVersions(ctx, vault.TransitKey)
	if err != nil {
		return nil, err
	}
	first, err := strconv.Atoi(r.New)
	if err != nil {
		return nil, fmt.Errorf("the journal of rotations names version %q: %w", r.New, err)
	}
	e := Evidence{Attempt: "find a version of the encryption key that was retired", From: "vault", As: "operator", Want: Refused, Got: Refused,
		Answer: fmt.Sprintf("the oldest that decrypts is %d", oldest)}
	if oldest < first {
		e.Got = Allowed
	}
	return []Evidence{e}, nil
}
