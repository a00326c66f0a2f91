package phase

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// revokeSerial takes one certificate back.
func (c *Cluster) revokeSerial(ctx context.Context, what Revocation) (RevocationReport, error) {
	began, out := time.Now(), RevocationReport{Of: what.Serial}
	events, err := c.Audit(ctx)
	if err != nil {
		return out, err
	}
	var found []audit.Event
	for _, e := range (audit.Filter{Serial: what.Serial}).Select(events) {
		if e.Kind == audit.Issued && e.Refused == "" {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		if found, err = c.stored(ctx, what.Serial); err != nil {
			return out, err
		}
	}
	switch {
	case len(found) == 0:
		return out, InputError{fmt.Errorf("vault's log knows of no certificate with the serial %s: `ashlar pki audit` lists what was issued", what.Serial)}
	case len(found) > 1:
		return out, InputError{fmt.Errorf("%d certificates have serials that begin with %s: give it in full", len(found), what.Serial)}
	case found[0].IsCA:
		return out, InputError{fmt.Errorf("%s is the certificate of the CA %s itself, on which all others hang", what.Serial, found[0].CA)}
	case !found[0].Alive(began):
		return out, InputError{fmt.Errorf("the certificate %s of %s has expired already", found[0].Serial, found[0].Who)}
	}
	sever := netip.Prefix{}
	if from, err := netip.ParseAddr(found[0].From); err == nil {
		sever = netip.PrefixFrom(from, from.BitLen())
	}
	out.Certificates = revocations(found, what, sever, began)
	unlisted := c.revokeInVault(ctx, found, out.Certificates)
	out, err = c.spread(ctx, out, began, func(*unit.Revoked) {})
	return out, errors.Join(err, unlisted)
}

// stored finds a certificate that Vault has kept longer than its log.
func (c *Cluster) stored(ctx context.Context, serial string) ([]audit.Event, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	var out []audit.Event
	for _, ca := range unit.CAs {
		text, err := v.StoredCertificate(ctx, ca, serial)
		if errors.Is(err, vault.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, audit.Stored(ca, "", text))
	}
	return out, nil
}
