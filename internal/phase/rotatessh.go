package phase

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// An engine of Vault's has one SSH key. A CA of SSH is therefore replaced by a second engine, with the roles that the first one
// has: both are there until the rotation is over, and what names one in Vault's layout follows from the journal alone.

// trustedSSH are the engines whose keys are trusted now; the first signs.
func trustedSSH(j rotation.Journal) vault.SSHEngines {
	return sshEngines(j, rotation.Rotation.SignerFirst)
}

// mountedSSH are the engines that Vault shall have.
func mountedSSH(j rotation.Journal) vault.SSHEngines {
	return sshEngines(j, func(r rotation.Rotation) []string { return []string{r.Old, r.New} })
}

func sshEngines(j rotation.Journal, during func(rotation.Rotation) []string) vault.SSHEngines {
	out := vault.SSHEngines{}
	for _, target := range rotation.SSH {
		out[target.SSHCA()] = []string{j.Latest(target, target.SSHCA())}
	}
	for _, r := range j.UnderWay() {
		if ca := r.Target.SSHCA(); ca != "" {
			out[ca] = during(r)
		}
	}
	return out
}

// rotatable leaves the CAs of SSH out of "all" where there are none.
func (c *Cluster) rotatable(targets []rotation.Target) ([]rotation.Target, error) {
	none := func(t rotation.Target) bool { return t.SSHCA() != "" }
	if c.Spec.Spec.Bastion() || !slices.ContainsFunc(targets, none) {
		return targets, nil
	}
	if len(targets) < len(rotation.Targets) {
		return nil, InputError{errors.New("the file has no pool of role bastion, and so the cluster has no CAs of SSH to rotate")}
	}
	return slices.DeleteFunc(slices.Clone(targets), none), nil
}

// arrangeSSH makes of Vault's SSH engines, and of who may use them, what the layout has; without some engine.
func (c *Cluster) arrangeSSH(ctx context.Context, without string) error {
	return c.withRoot(ctx, func(root *vault.Client) error {
		in, err := c.layoutInput(ctx, root)
		if err != nil {
			return err
		}
		for ca, engines := range in.SSHEngines {
			in.SSHEngines[ca] = slices.DeleteFunc(engines, func(e string) bool { return e == without })
		}
		want := vault.Layout(in)
		have, err := vault.Observe(ctx, root, want)
		if err != nil {
			return err
		}
		return vault.Apply(ctx, root, slices.DeleteFunc(vault.Diff(want, have), func(d vault.Drift) bool { return !d.AboutSSH() }))
	})
}

// signsSSH is the fingerprint of the first of the keys of an SSH CA.
func signsSSH(keys string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(keys)))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// sshAt is what machines would be told of an SSH CA at a stage.
func sshAt(was unit.SSH, ca string, r rotation.Rotation) *unit.SSH {
	keys := &was.HostCA
	if ca == vault.SSHUsers {
		keys = &was.UserCA
	}
	r.Old = *keys
	*keys = strings.Join(r.SignerFirst(), "")
	return &was
}
