package phase

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// What was dropped must not come back with a backup: a CA, or the key of ServiceAccount tokens, that was replaced after the
// backup was taken is replaced again, in the restored Vault, before anybody is told to trust it. Nobody has to be led over step
// by step, for everybody gets new certificates anyway. What was dropped, the machines' disks tell: they no longer trust it.

// replaceDropped replaces what the machines have dropped, and says what that was.
func (c *Cluster) replaceDropped(ctx context.Context, root *vault.Client) ([]Change, error) {
	t, err := readTrust(ctx, root)
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, ca := range unit.CAs {
		if slices.ContainsFunc(t.journal.Targets(), func(t rotation.Target) bool { return t.CA() == ca }) {
			continue // the backup is from the middle of it: `up` finishes it
		}
		files, err := c.trustOnDisks(ctx, ca)
		if err != nil {
			return nil, err
		}
		if since, dropped := droppedSince(t.cas[ca], files); dropped {
			if err := c.replaceCA(ctx, root, ca); err != nil {
				return nil, err
			}
			out = append(out, Change{Time: since.Add(agent.Backdating), What: fmt.Sprintf("CA %s was replaced", ca), ca: ca})
		}
	}
	overSSH, err := c.replaceDroppedSSH(ctx, root, t.journal)
	if err != nil {
		return nil, err
	}
	out = append(out, overSSH...)
	if dropped, err := c.tokenKeyDropped(ctx, t); err != nil || !dropped {
		return out, err
	}
	next := vault.ServiceAccountDocument + "/" + successor()
	if err := root.EnsureServiceAccountKey(ctx, next); err != nil {
		return nil, err
	}
	if err := root.DestroySecret(ctx, t.tokens[0]); err != nil {
		return nil, err
	}
	out = append(out, Change{Time: time.Now(), What: "the key of ServiceAccount tokens was replaced",
		ToDo: "done again; pods that run are refused until their next token, within the hour: delete them to have it now"})
	return out, notePast(ctx, root, rotation.ServiceAccountKey, t.tokens[0], next)
}

// trustOnDisks reads what machines with a disk trust as a CA.
func (c *Cluster) trustOnDisks(ctx context.Context, ca unit.CA) ([]string, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range machines {
		if m.State == provider.Absent {
			continue
		}
		b, err := c.Provider.Read(ctx, m.Name, unit.CAFile(ca))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read whom %s trusts as CA %s: %w", m.Name, ca, err)
		}
		out = append(out, string(b))
	}
	return out, nil
}

// droppedSince says whether some machine trusts a successor of a CA and not the CA any more, and since when there is a successor.
func droppedSince(ca string, files []string) (since time.Time, dropped bool) {
	roots := readCertificates(ca)
	if len(roots) == 0 {
		return since, false
	}
	for _, f := range files {
		trusted := readCertificates(f)
		if slices.ContainsFunc(trusted, roots[0].Equal) {
			continue
		}
		for _, t := range trusted {
			// A machine that was left alone may trust a predecessor only.
			if t.NotBefore.After(roots[0].NotBefore) && t.NotBefore.After(since) {
				since, dropped = t.NotBefore, true
			}
		}
	}
	return since, dropped
}

// readCertificates reads PEM; what is damaged is none.
func readCertificates(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
}

// tokenKeyDropped says whether API servers were set up, and none has the key that the restored Vault would have them sign with.
func (c *Cluster) tokenKeyDropped(ctx context.Context, t trust) (bool, error) {
	if slices.Contains(t.journal.Targets(), rotation.ServiceAccountKey) {
		return false, nil
	}
	machines, err := c.withRole(ctx, v1alpha1.RoleControlPlane)
	if err != nil {
		return false, err
	}
	others := false
	for _, m := range machines {
		ready, err := c.onDisk(ctx, m, unit.CAFile(unit.CAKubernetes))
		if err != nil {
			return false, err
		}
		have, err := c.onDisk(ctx, m, unit.TokenKeyFile(t.tokens[0]))
		if err != nil || have {
			return false, err
		}
		others = others || ready
	}
	return others, nil
}

// replaceCA gives a CA another key, which signs from now on, and destroys every other.
func (c *Cluster) replaceCA(ctx context.Context, root *vault.Client, ca unit.CA) error {
	old, err := root.DefaultIssuer(ctx, ca)
	if err != nil {
		return err
	}
	next := successor()
	if _, err := root.EnsureIssuer(ctx, ca, next, c.Spec.Spec.PKI.CATTL.Duration); err != nil {
		return err
	}
	if err := root.SetDefaultIssuer(ctx, ca, next); err != nil {
		return err
	}
	if err := root.DestroyIssuer(ctx, ca, old); err != nil {
		return err
	}
	i := slices.IndexFunc(rotation.Targets, func(t rotation.Target) bool { return t.CA() == ca })
	return notePast(ctx, root, rotation.Targets[i], old, next)
}

// notePast writes into the journal that a target was replaced.
func notePast(ctx context.Context, root *vault.Client, target rotation.Target, old, next string) error {
	var j rotation.Journal
	version, err := root.ReadRotation(ctx, &j)
	if err != nil {
		return err
	}
	_, err = root.WriteRotation(ctx, version, j.Replaced(target, old, next, time.Now().UTC()))
	return err
}

// goneWith settles the revocation of certificates whose CA was replaced: nobody trusts them any more.
func goneWith(found, replaced []Change) {
	for i, f := range found {
		if f.serial != "" && slices.ContainsFunc(replaced, func(r Change) bool { return r.ca == f.ca }) {
			found[i].ToDo, found[i].serial = "", ""
		}
	}
}
