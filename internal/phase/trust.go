package phase

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// trust is whom machines trust, and who signs for them. While something rotates, its stage says so.
type trust struct {
	cas     map[unit.CA]string // the trusted certificates, as PEM
	issuers map[unit.CA]string // the key that signs
	tokens  []string           // documents of the keys of ServiceAccount tokens; the first signs
	ssh     *unit.SSH          // nil: there is no bastion
	journal rotation.Journal
	version int // of the journal
}

// readTrust reads what Vault and the journal of rotations say.
func readTrust(ctx context.Context, v *vault.Client) (trust, error) {
	t := trust{issuers: map[unit.CA]string{}}
	var err error
	if t.version, err = v.ReadRotation(ctx, &t.journal); err != nil {
		return t, err
	}
	if t.cas, err = v.CAs(ctx); err != nil {
		return t, err
	}
	t.tokens = []string{t.journal.Latest(rotation.ServiceAccountKey, vault.ServiceAccountDocument)}
	signers := map[unit.CA]string{}
	for ca, pem := range t.cas {
		signers[ca] = pem
	}
	for _, r := range t.journal.UnderWay() {
		if err := t.during(ctx, v, r, signers); err != nil {
			return t, err
		}
	}
	for ca, pem := range signers {
		if t.issuers[ca], err = vault.KeyID(pem); err != nil {
			return t, fmt.Errorf("CA %s: %w", ca, err)
		}
	}
	return t, nil
}

// during replaces what a rotation under way is about.
func (t *trust) during(ctx context.Context, v *vault.Client, r rotation.Rotation, signers map[unit.CA]string) error {
	if r.Target == rotation.ServiceAccountKey {
		t.tokens = tokenDocuments(r)
	}
	ca := r.Target.CA()
	if ca == "" {
		return nil
	}
	var trusted strings.Builder
	for _, ref := range r.Trusted() {
		pem, err := v.IssuerCertificate(ctx, ca, ref)
		if err != nil {
			return err
		}
		trusted.WriteString(pem)
		if ref == r.Signer() {
			signers[ca] = pem
		}
	}
	t.cas[ca] = trusted.String()
	return nil
}

// tokenDocuments are the trusted keys of a rotation, the one that signs first.
func tokenDocuments(r rotation.Rotation) []string {
	out := []string{r.Signer()}
	for _, document := range r.Trusted() {
		if document != r.Signer() {
			out = append(out, document)
		}
	}
	return out
}

// trust is read once for each command, and again at each step of a rotation.
func (c *Cluster) trust(ctx context.Context) (trust, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return trust{}, err
	}
	c.mu.Lock()
	have := c.vault.trust
	c.mu.Unlock()
	if have != nil {
		return *have, nil
	}
	t, err := readTrust(ctx, v)
	if err == nil && c.Spec.Spec.Bastion() {
		t.ssh, err = v.SSHCAs(ctx, trustedSSH(t.journal))
		if errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrDenied) { // the bastion is new: `up` has yet to tell Vault
			t.ssh, err = nil, nil
		}
	}
	if err != nil {
		return trust{}, err
	}
	c.mu.Lock()
	c.vault.trust = &t
	c.mu.Unlock()
	return t, nil
}

// authorities are the CAs' certificates that are trusted.
func (c *Cluster) authorities(ctx context.Context) (map[unit.CA]string, error) {
	t, err := c.trust(ctx)
	return t.cas, err
}

// forgetTrust has the next who asks read it again; what was signed by it goes as well.
func (c *Cluster) forgetTrust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kube = nil
	if c.vault != nil {
		c.vault.trust = nil
	}
}
