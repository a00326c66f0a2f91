package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// vaultTimeout is how long Vault's machines may take to listen, and Vault to be active.
const vaultTimeout = time.Minute

func observeVault(ctx context.Context, c *Cluster) ([]Drift, error) {
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return nil, err
	}
	var drift []Drift
	for _, m := range machines {
		if cause, action := c.vaultMember(ctx, m); cause != "" {
			drift = append(drift, Drift{Object: m.Name, Cause: cause, Action: action, hides: true})
		}
	}
	if len(drift) > 0 {
		return drift, nil
	}
	v, err := c.operatorVault(ctx)
	if errors.Is(err, errNoCredential) || refused(err) {
		return []Drift{{Object: "vault", Cause: "the operator cannot log in: " + err.Error(), Action: "set it up with a root token from the unseal keys", hides: true}}, nil
	}
	if err != nil {
		return nil, err
	}
	want, err := c.vaultLayout(ctx, v)
	var have vault.State
	if err == nil {
		have, err = vault.Observe(ctx, v, want)
	}
	if refused(err) {
		return []Drift{{Object: "vault", Cause: "the operator may not look: " + err.Error(), Action: "set it up with a root token from the unseal keys", hides: true}}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, d := range vault.Diff(want, have) {
		drift = append(drift, Drift{Object: d.Object, Cause: d.Cause, Action: d.Action})
	}
	if missing, err := c.unpublished(ctx); err != nil {
		return nil, err
	} else if missing {
		drift = append(drift, Drift{Object: publishedCA, Cause: "machines do not find Vault's CA where they look for it", Action: "publish it"})
	}
	return drift, nil
}

// refused says that Vault heard us and said no: the credential is wrong, or what it may do was changed.
func refused(err error) bool {
	var answer *vault.Error
	return errors.As(err, &answer) && answer.Status < http.StatusInternalServerError
}

// vaultMember says what one server lacks.
func (c *Cluster) vaultMember(ctx context.Context, m provider.Machine) (cause, action string) {
	if m.State != provider.Running {
		return "the machine is not running", "wait for it"
	}
	client, err := c.vaultClient(ctx, m)
	if err != nil {
		return "Vault does not listen yet: " + err.Error(), "wait for it"
	}
	defer client.Close()
	s, err := client.Status(ctx)
	switch {
	case err != nil:
		return "Vault does not answer: " + err.Error(), "wait for it"
	case !s.Initialized:
		return "Vault is not initialised", "initialise it, or join it to the others"
	case s.Sealed:
		return "Vault is sealed", "unseal it with the operator's key"
	}
	return "", ""
}

// applyVault opens Vault on all its machines, and then makes what it holds as it should be.
func applyVault(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience(vaultTimeout))
	defer cancel()
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return err
	}
	progress.Detail("waiting for Vault to listen")
	machines, err = c.initialisedFirst(ctx, machines)
	if err != nil {
		return err
	}
	first, err := c.listening(ctx, machines[0])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.keysFile()), 0o700); err != nil {
		return err
	}
	keys, root, err := first.Initialise(ctx, c.keysFile())
	if errors.Is(err, vault.ErrNeverRecorded) {
		if err := c.remake(ctx, machines[0]); err != nil {
			return err
		}
		return applyVault(ctx, c, nil, progress)
	}
	if err != nil {
		return err
	}
	progress.Detail("unsealing")
	if err := first.Unseal(ctx, keys); err != nil {
		return err
	}
	if root != "" && len(machines) > 1 {
		if err := first.WaitActive(ctx); err != nil {
			return err
		}
		if err := first.WithToken(root).PromoteSoon(ctx); err != nil {
			return err
		}
	}
	if err := c.joinOthers(ctx, machines, keys); err != nil {
		return err
	}
	all, err := c.vaultClient(ctx, machines...) // any of them may lead
	if err != nil {
		return err
	}
	defer all.Close()
	if err := all.WaitActive(ctx); err != nil {
		return err
	}
	progress.Detail("layout")
	if root != "" {
		err = all.UseRoot(ctx, root, func(r *vault.Client) error { return c.setUp(ctx, r) })
	} else if drift, e := observeVault(ctx, c); e != nil || len(drift) > 0 {
		err = all.WithRoot(ctx, keys, func(r *vault.Client) error { return c.setUp(ctx, r) })
	}
	c.forgetVault()
	return err
}

// listening waits until a machine's Vault can be spoken to.
func (c *Cluster) listening(ctx context.Context, m provider.Machine) (*vault.Client, error) {
	for {
		client, err := c.vaultClient(ctx, m)
		if err == nil {
			if _, err = client.Status(ctx); err == nil {
				return client, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("vault on %s does not answer: %w; see `ashlar logs %s vault`", m.Name, err, m.Name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Cluster) joinOthers(ctx context.Context, machines []provider.Machine, keys vault.Keys) error {
	leader, err := c.listenerCertificate(ctx, machines[0])
	if err != nil {
		return err
	}
	for _, m := range machines[1:] {
		client, err := c.listening(ctx, m)
		if err != nil {
			return err
		}
		if err := c.forgetLost(ctx, client, m.Name, keys); err != nil {
			return err
		}
		if err := client.RaftJoin(ctx, fmt.Sprintf("%s:%d", machines[0].Name, unit.PortVault), string(leader)+c.vaultCA()); err != nil {
			return err
		}
		if err := client.Unseal(ctx, keys); err != nil {
			return err
		}
	}
	return nil
}

// remake replaces a machine whose Vault nobody can ever open, and which holds nothing.
func (c *Cluster) remake(ctx context.Context, m provider.Machine) error {
	if err := c.Provider.Delete(ctx, m.Name); err != nil {
		return err
	}
	if err := os.Remove(c.keysFile()); err != nil {
		return err
	}
	return applyMachines(ctx, c, nil, nil)
}

// setUp makes Vault's contents as they should be, with a root token that lives for just that.
func (c *Cluster) setUp(ctx context.Context, root *vault.Client) error {
	want, err := c.vaultLayout(ctx, root)
	if err != nil {
		return err
	}
	have, err := vault.Observe(ctx, root, want)
	if err != nil {
		return err
	}
	if err := vault.Apply(ctx, root, vault.Diff(want, have)); err != nil {
		return err
	}
	trust, err := readTrust(ctx, root)
	if err != nil {
		return err
	}
	for _, document := range trust.tokens {
		if err := root.EnsureServiceAccountKey(ctx, document); err != nil {
			return err
		}
	}
	if err := writeOperatorFile(c.vaultCAFile(), []byte(trust.cas[unit.CAVault])); err != nil {
		return err
	}
	if err := c.publish(ctx); err != nil {
		return err
	}
	cred, err := root.IssueOperatorCredential(ctx)
	if err != nil {
		return err
	}
	b, err := json.Marshal(cred)
	if err != nil {
		return err
	}
	return writeOperatorFile(c.credentialFile(), b)
}

// initToken is the file that lets a machine log in once.
func (c *Cluster) initToken(ctx context.Context, machine string) (provider.File, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return provider.File{}, err
	}
	t, err := v.IssueInitToken(ctx, machine, c.Spec.Spec.PKI.InitTokenTTL.Duration)
	return provider.File{Path: unit.InitTokenFile, Mode: 0o600, Content: []byte(t)}, err
}

// bootstrapCredential is the one certificate for system:masters: minutes long, in memory, for the first binding.
// The PKI role that can issue it exists for as long as that takes.
func (c *Cluster) bootstrapCredential(ctx context.Context) (Credential, error) {
	key, csr, err := newRequest()
	if err != nil {
		return Credential{}, err
	}
	cred, err := c.Admin(ctx)
	if err != nil {
		return Credential{}, err
	}
	cred.Key = key
	err = c.withRoot(ctx, func(root *vault.Client) error {
		cert, err := root.SignMasters(ctx, string(csr))
		cred.Cert = []byte(cert.Chain)
		return err
	})
	return cred, err
}
