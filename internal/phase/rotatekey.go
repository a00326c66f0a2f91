package phase

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// nameKeys says what the present key of a target is called, and what its successor shall be.
func (c *Cluster) nameKeys(ctx context.Context, target rotation.Target, t trust) (old, next string, err error) {
	next = successor()
	switch target {
	case rotation.ServiceAccountKey:
		return t.tokens[0], vault.ServiceAccountDocument + "/" + next, nil
	case rotation.EncryptionKey:
		v, err := c.operatorVault(ctx)
		if err != nil {
			return "", "", err
		}
		latest, _, err := v.TransitVersions(ctx, vault.TransitKey)
		return strconv.Itoa(latest), strconv.Itoa(latest + 1), err
	}
	if ca := target.SSHCA(); ca != "" {
		return trustedSSH(t.journal)[ca][0], ca + "-" + next, nil
	}
	err = c.withRoot(ctx, func(root *vault.Client) (err error) {
		old, err = root.DefaultIssuer(ctx, target.CA())
		return err
	})
	return old, next, err
}

// successor is what a new key is called.
func successor() string {
	var r [4]byte
	_, _ = rand.Read(r[:]) // never fails (crypto/rand)
	return "r-" + hex.EncodeToString(r[:])
}

// prepareStage makes of Vault what a stage needs, before machines hear of it.
func (c *Cluster) prepareStage(ctx context.Context, r rotation.Rotation) error {
	if ca := r.Target.CA(); ca != "" {
		return c.prepareCA(ctx, ca, r)
	}
	if r.Stage != rotation.Prepare || r.Back {
		return nil
	}
	if r.Target.SSHCA() != "" {
		return c.arrangeSSH(ctx, "")
	}
	return c.withRoot(ctx, func(root *vault.Client) error {
		if r.Target == rotation.ServiceAccountKey {
			return root.EnsureServiceAccountKey(ctx, r.New)
		}
		version, err := strconv.Atoi(r.New)
		if err != nil {
			return err
		}
		return root.RotateTransit(ctx, vault.TransitKey, version)
	})
}

// prepareCA makes the new issuer, and has the stage's sign. To change that before machines know is no harm: where it
// happens, everybody trusts both.
func (c *Cluster) prepareCA(ctx context.Context, ca unit.CA, r rotation.Rotation) error {
	if r.Stage == rotation.Prepare && !r.Back {
		return c.withRoot(ctx, func(root *vault.Client) error {
			_, err := root.EnsureIssuer(ctx, ca, r.New, c.Spec.Spec.PKI.CATTL.Duration)
			return err
		})
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	cas, err := v.CAs(ctx)
	if err != nil {
		return err
	}
	signer, err := v.IssuerCertificate(ctx, ca, r.Signer())
	if err != nil {
		return err
	}
	if cas[ca] != signer {
		if err := c.withRoot(ctx, func(root *vault.Client) error { return root.SetDefaultIssuer(ctx, ca, r.Signer()) }); err != nil {
			return err
		}
	}
	c.forgetTrust()
	if ca != unit.CAVault {
		return nil
	}
	// The operator, too, is one of those who must trust Vault.
	t, err := c.trust(ctx)
	if err != nil {
		return err
	}
	if c.vaultCA() == t.cas[ca] {
		return nil
	}
	if err := writeOperatorFile(c.vaultCAFile(), []byte(t.cas[ca])); err != nil {
		return err
	}
	c.Close(ctx) // the next request knows Vault anew
	return nil
}

// completeStage does what a stage asks of others than machines.
func (c *Cluster) completeStage(ctx context.Context, r rotation.Rotation, progress *ui.Progress) error {
	if r.Target == rotation.EncryptionKey && !r.Back && (r.Stage == rotation.Issue || r.Stage == rotation.Drop) {
		return c.sealAnew(ctx, r, progress)
	}
	if r.Target == rotation.VaultTLS {
		// API servers ask Vault about people, and read whom to trust for that about once a minute.
		return applyAccess(ctx, c, nil, progress)
	}
	return nil
}

// leaveStage is the last that a stage does, when all that it needed is over.
func (c *Cluster) leaveStage(ctx context.Context, r rotation.Rotation) error {
	gone := ""
	switch {
	case r.Stage == rotation.Finish && !r.Back:
		gone = r.Old
	case r.Stage == rotation.Prepare && r.Back:
		gone = r.New
	default:
		return nil
	}
	if r.Target == rotation.Kubernetes || r.Target == rotation.FrontProxy {
		if err := c.forgetPublished(ctx); err != nil {
			return err
		}
	}
	if r.Target == rotation.EncryptionKey {
		return nil // a version that decrypts nothing any more; or, going back, one that goes on to be used
	}
	if r.Target.SSHCA() != "" {
		return c.arrangeSSH(ctx, gone) // with its key
	}
	return c.withRoot(ctx, func(root *vault.Client) error {
		if r.Target == rotation.ServiceAccountKey {
			return root.DestroySecret(ctx, gone)
		}
		return root.DestroyIssuer(ctx, r.Target.CA(), gone)
	})
}

// forgetPublished has the API servers publish anew whom extension API servers shall trust: they add to it by themselves,
// and never take away.
func (c *Cluster) forgetPublished(ctx context.Context) error {
	client, err := c.clientset(ctx)
	if err != nil {
		return err
	}
	err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Delete(ctx, "extension-apiserver-authentication", metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("have the trusted client CAs published anew: %w", err)
	}
	return nil
}

// withRoot runs f with a root token that the unseal keys make, and that is revoked after it.
func (c *Cluster) withRoot(ctx context.Context, f func(root *vault.Client) error) error {
	keys, err := vault.ReadKeys(c.keysFile())
	if err != nil {
		return err
	}
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return err
	}
	client, err := c.vaultClient(ctx, machines...)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.WithRoot(ctx, keys, f)
}
