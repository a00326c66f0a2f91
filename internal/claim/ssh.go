package claim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

var sshClaims = []Claim{{
	ID:   "exp-ssh",
	Says: "Bastion instance, which provides access to the Cluster's private networks",
	Holds: "a shell is got through the bastion only, by who may, with a certificate of minutes from Vault for that machine, and under the name of " +
		"who came; with nothing else, and from nowhere else",
	Probe: probeSSH,
}}

// clocksDiffer is how much longer than vault.SSHTTL a certificate may be good: Vault sets its beginning back.
const clocksDiffer = 30 * time.Second

// probeSSH comes in as the operator does, and tries all that must not work, on every machine.
func probeSSH(ctx context.Context, t *Target) ([]Evidence, error) {
	bastions := t.withRole(v1alpha1.RoleBastion)
	if t.Desired.SSH == nil || len(bastions) == 0 {
		return t.noSSH(ctx)
	}
	bastion := bastions[0]
	out, err := t.sshVault(ctx)
	if err != nil {
		return nil, err
	}
	network, err := t.sshNetwork(ctx, bastion)
	if err != nil {
		return nil, err
	}
	jump, err := t.sshJump(ctx, bastion)
	if err != nil {
		return nil, err
	}
	out = slices.Concat(out, network, jump)
	found := make([][]Evidence, len(t.Machines))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, m := range t.Machines {
		g.Go(func() (err error) {
			found[i], err = t.sshMachine(gctx, bastion, m, t.Machines[(i+1)%len(t.Machines)].Name)
			if err != nil {
				err = fmt.Errorf("ssh to %s: %w", m.Name, err)
			}
			return err
		})
	}
	err = g.Wait()
	for _, f := range found {
		out = append(out, f...)
	}
	return out, err
}

func (t *Target) withRole(role v1alpha1.Role) []provider.Machine {
	return slices.DeleteFunc(slices.Clone(t.Machines), func(m provider.Machine) bool { return m.Role != role })
}

// noSSH looks for an sshd where there should be none.
func (t *Target) noSSH(ctx context.Context) ([]Evidence, error) {
	var out []Evidence
	for _, m := range t.Machines {
		e := Evidence{Attempt: "find an sshd, without a bastion", From: m.Name, As: "root", Want: Refused, Got: Refused, Answer: "none listens"}
		seen, err := run(ctx, t, m.Name, "ss", "-Hltnp", "sport", "=", fmt.Sprintf(":%d", unit.PortSSH))
		if err != nil {
			return nil, err
		}
		if text := strings.TrimSpace(string(seen)); text != "" {
			e.Got, e.Answer = Allowed, text
		}
		out = append(out, e)
	}
	return out, nil
}

// sshVault asks Vault for certificates that it must not sign: as the operator, and as somebody who is in no group.
func (t *Target) sshVault(ctx context.Context) ([]Evidence, error) {
	k, err := newSSHKey()
	if err != nil {
		return nil, err
	}
	engine := t.SSH[vault.SSHUsers][0]
	machine := t.Machines[0].Name
	var out []Evidence
	ask := func(what, as string, want Expectation, sign func() error) error {
		e, err := refusal(what, provider.FromOperator, as, want, sign())
		out = append(out, e)
		return err
	}
	err = errors.Join(
		ask("have a key signed for every machine", vault.Operator, Refused, func() error {
			_, err := t.Vault.SignOperatorKey(ctx, engine, k.public, "*")
			return err
		}),
		ask("have a key signed for an account instead of a machine", vault.Operator, Refused, func() error {
			_, err := t.Vault.SignOperatorKey(ctx, engine, k.public, "root")
			return err
		}),
		ask("have a host key signed", vault.Operator, Refused, func() error {
			_, err := t.Vault.SignHostKey(ctx, t.SSH[vault.SSHHosts][0], k.public, machine)
			return err
		}))
	if err != nil {
		return nil, err
	}
	canary, leave, err := t.loginCanary(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	err = ask("have a key signed as the operator", vault.Canary, Refused, func() error {
		_, err := canary.SignOperatorKey(ctx, engine, k.public, machine)
		return err
	})
	for _, g := range t.Spec.Spec.SSH {
		err = errors.Join(err, ask("have a key signed as one of "+g.Group, vault.Canary, Refused, func() error {
			_, err := canary.SignUserKey(ctx, engine, g.Group, k.public, machine)
			return err
		}))
	}
	if err != nil {
		return nil, err
	}
	roles, err := t.sshRoles(ctx, engine)
	return append(out, roles...), err
}

// sshRoles compares which machines each group is let in to with which are declared for it.
func (t *Target) sshRoles(ctx context.Context, engine string) ([]Evidence, error) {
	var out []Evidence
	for _, g := range t.Spec.Spec.SSH {
		may, err := t.Vault.SSHGroupMachines(ctx, engine, g.Group)
		if err != nil {
			return nil, err
		}
		e := Evidence{Attempt: "find a machine that " + g.Group + " may enter and should not", From: "vault", As: vault.Operator, Want: Refused, Got: Refused,
			Answer: fmt.Sprintf("there are %d, all declared", len(may))}
		for _, name := range may {
			declared := slices.ContainsFunc(t.Spec.Machines(), func(m v1alpha1.Machine) bool { return m.Name == name && slices.Contains(g.Roles, m.Role) })
			if !declared {
				e.Got, e.Answer = Allowed, "Vault signs for "+name
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// sshMachine comes in to one machine, and then tries what must not work there.
func (t *Target) sshMachine(ctx context.Context, bastion, m provider.Machine, other string) ([]Evidence, error) {
	over, err := t.signedSSH(ctx, m.Name, t.Vault.SignBriefKey) // which has expired when the others have been tried
	if err != nil {
		return nil, err
	}
	good, err := t.operatorSSH(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	out := []Evidence{brief(m.Name, good.cert)}
	enter, err := t.enterSSH(ctx, bastion, m, "root", "the operator's certificate", Allowed, ssh.PublicKeys(good.signer))
	if err != nil || !enter.Held() {
		return append(out, enter), err
	}
	logged, err := t.sshLogged(ctx, m, good.cert)
	if err != nil {
		return nil, err
	}
	out = append(append(out, enter), logged...)
	strangers, err := t.sshStrangers(ctx, m, other, good)
	if err != nil {
		return nil, err
	}
	for _, s := range strangers {
		e, err := t.enterSSH(ctx, bastion, m, s.user, s.what, Refused, s.auth)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	added, err := t.addedKey(ctx, bastion, m)
	if err == nil {
		err = expired(ctx, over.cert)
	}
	if err != nil {
		return nil, err
	}
	late, err := t.enterSSH(ctx, bastion, m, "root", "a certificate that has expired", Refused, ssh.PublicKeys(over.signer))
	if err != nil {
		return nil, err
	}
	files, err := t.sshFiles(ctx, m)
	return append(append(out, added, late), files...), err
}

// brief says whether a certificate is one of minutes, of one machine, and with a name.
func brief(machine string, c *ssh.Certificate) Evidence {
	life := time.Duration(c.ValidBefore-c.ValidAfter) * time.Second
	e := Evidence{Attempt: "have a certificate of more than minutes, or for more than " + machine, From: "vault", As: vault.Operator, Want: Refused, Got: Refused,
		Answer: fmt.Sprintf("it is good for %s, for %s, under the name %s", life, strings.Join(c.ValidPrincipals, " and "), c.KeyId)}
	if life <= 0 || life > vault.SSHTTL+clocksDiffer || !slices.Equal(slices.Sorted(slices.Values(c.ValidPrincipals)), slices.Sorted(slices.Values([]string{unit.JumpUser, machine}))) ||
		c.KeyId != vault.Operator {
		e.Got = Allowed
	}
	return e
}

// sshLogged looks a session up in Vault's log, and in sshd's.
func (t *Target) sshLogged(ctx context.Context, m provider.Machine, c *ssh.Certificate) ([]Evidence, error) {
	serial := strconv.FormatUint(c.Serial, 10)
	inVault := Evidence{Attempt: "look up serial " + serial + " in Vault's log", From: "vault", As: "root", Want: Allowed, Got: Refused, Answer: "no line has it"}
	events, err := t.Audit(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if e.Kind == audit.SSH && e.Serial == serial {
			inVault.Got, inVault.Answer = Allowed, fmt.Sprintf("signed for %s, as %s, for %s", e.Who, e.Name, strings.Join(e.Names, ", "))
		}
	}
	inSSHD := Evidence{Attempt: "look up serial " + serial + " in sshd's log", From: m.Name, As: "root", Want: Allowed, Got: Refused, Answer: "no line has it"}
	lines, err := run(ctx, t, m.Name, "sh", "-c", `grep -F "$0" `+unit.SSHLog+` || true`, "ID "+c.KeyId+" (serial "+serial+")")
	if err != nil {
		return nil, err
	}
	if line, _, _ := strings.Cut(string(lines), "\n"); strings.HasPrefix(line, "Accepted publickey for root ") {
		inSSHD.Got, inSSHD.Answer = Allowed, line
	}
	return []Evidence{inVault, inSSHD}, nil
}
