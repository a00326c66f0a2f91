package claim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// stranger is a credential that must open nothing.
type stranger struct {
	what, user string
	auth       ssh.AuthMethod
}

// sshStrangers are those that are shown to a machine.
func (t *Target) sshStrangers(ctx context.Context, m provider.Machine, other string, good sshKey) ([]stranger, error) {
	bare, err := newSSHKey()
	if err != nil {
		return nil, err
	}
	own, err := selfSigned(vault.Operator, m.Name, "root", unit.JumpUser)
	if err != nil {
		return nil, err
	}
	elsewhere, err := t.operatorSSH(ctx, other)
	if err != nil {
		return nil, err
	}
	host, err := t.hostKeyOf(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	typed := ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range answers {
			answers[i] = password
		}
		return answers, nil
	})
	return []stranger{
		{"a key that nobody signed", "root", ssh.PublicKeys(bare.signer)},
		{"a certificate of a CA of its own", "root", ssh.PublicKeys(own.signer)},
		{"a certificate for " + other, "root", ssh.PublicKeys(elsewhere.signer)},
		{"a host's certificate, of the other CA", "root", ssh.PublicKeys(host)},
		{"the operator's certificate, under another account", "nobody", ssh.PublicKeys(good.signer)},
		{"a password", "root", ssh.Password(password)},
		{"a password, typed", "root", typed},
	}, nil
}

// hostKeyOf is a machine's own host key with its certificate, as who broke into it has it.
func (t *Target) hostKeyOf(ctx context.Context, machine string) (ssh.Signer, error) {
	private, err := t.Provider.Read(ctx, machine, unit.SSHHostKey)
	if err != nil {
		return nil, err
	}
	cert, err := t.Provider.Read(ctx, machine, unit.SSHHostCert(unit.SSHHostKey))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, err
	}
	k, err := sshKey{signer: signer}.with(string(cert))
	return k.signer, err
}

// addedKey puts a key into root's home, and tries it.
func (t *Target) addedKey(ctx context.Context, bastion, m provider.Machine) (Evidence, error) {
	const file = "/root/.ssh/authorized_keys"
	k, err := newSSHKey()
	if err != nil {
		return Evidence{}, err
	}
	line := strings.TrimSpace(k.public)
	add := `set -e; umask 077; mkdir -p "${1%/*}"; echo "$0" >> "$1"`
	remove := `grep -vxF "$0" "$1" > "$1.new"; if [ -s "$1.new" ]; then mv "$1.new" "$1"; else rm -f "$1" "$1.new"; fi; rmdir "${1%/*}" 2> /dev/null || true`
	if _, err := run(ctx, t, m.Name, "sh", "-c", add, line, file); err != nil {
		return Evidence{}, fmt.Errorf("add a key by hand: %w", err)
	}
	e, err := t.enterSSH(ctx, bastion, m, "root", "a key that is in "+file, Refused, ssh.PublicKeys(k.signer))
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, gone := run(after, t, m.Name, "sh", "-c", remove, line, file); gone != nil {
		err = errors.Join(err, fmt.Errorf("remove the key that was added by hand: %w", gone))
	}
	return e, err
}

// sshFiles reads by what sshd decides who comes in: nothing else than what was told to the machine.
func (t *Target) sshFiles(ctx context.Context, m provider.Machine) ([]Evidence, error) {
	d := t.Desired
	d.Self = m.Name
	var out []Evidence
	for _, u := range unit.For(d) {
		if u.Name != "sshd" {
			continue
		}
		for _, f := range u.Files {
			// Who was revoked is told by another document.
			if f.Path == unit.SSHRevokedKeys || strings.HasPrefix(f.Path, "/run/") {
				continue
			}
			e := Evidence{Attempt: "find what was not put there in " + f.Path, From: m.Name, As: "root", Want: Refused, Got: Refused, Answer: "it is as it should be"}
			have, err := t.Provider.Read(ctx, m.Name, f.Path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if string(have) != f.Content {
				e.Got, e.Answer = Allowed, "it is another: "+firstOther(string(have), f.Content)
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// firstOther is the first line of a text that another does not have.
func firstOther(have, want string) string {
	lines := map[string]bool{}
	for line := range strings.Lines(want) {
		lines[line] = true
	}
	for line := range strings.Lines(have) {
		if !lines[line] {
			return strings.TrimSpace(line)
		}
	}
	return "something is gone"
}

// sshNetwork knocks at sshds from where nobody may.
func (t *Target) sshNetwork(ctx context.Context, bastion provider.Machine) ([]Evidence, error) {
	var out []*Evidence
	var g errgroup.Group
	knock := func(from string, m provider.Machine, address string, want Expectation) {
		e := new(Evidence)
		out = append(out, e)
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err := t.Provider.Dial(ctx, from, "tcp", net.JoinHostPort(address, strconv.Itoa(unit.PortSSH)))
			if err == nil {
				_ = conn.Close()
			}
			*e = attempt("connect to sshd of "+m.Name+" at "+address, from, "nobody", want, err)
			return nil
		})
	}
	if public := bastion.Public; public.IsValid() {
		knock(provider.FromTrusted, bastion, public.String(), Allowed)
		if !t.Spec.Spec.Exposure.ToEverybody() {
			knock(provider.FromInternet, bastion, public.String(), Refused)
		}
	}
	for _, m := range t.Machines {
		if m.Name == bastion.Name {
			continue
		}
		knock(bastion.Name, m, m.Address.String(), Allowed)
		for _, from := range []string{provider.FromTrusted, provider.FromInternet, provider.FromOperator} {
			knock(from, m, m.Address.String(), Refused)
		}
	}
	_ = g.Wait()
	evidence := make([]Evidence, len(out))
	for i, e := range out {
		evidence[i] = *e
	}
	return evidence, ctx.Err()
}

// sshJump is who goes through the bastion: to an sshd, and to nothing else, and without a shell.
func (t *Target) sshJump(ctx context.Context, bastion provider.Machine) ([]Evidence, error) {
	to := t.withRole(v1alpha1.RoleWorker)[0]
	k, err := t.operatorSSH(ctx, to.Name)
	if err != nil {
		return nil, err
	}
	c, err := t.dialSSH(ctx, bastion, bastion, unit.JumpUser, ssh.PublicKeys(k.signer))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	as := unit.JumpUser
	var out []Evidence
	for _, a := range []struct {
		what, address string
		want          Expectation
	}{
		{"sshd of " + to.Name, net.JoinHostPort(to.Address.String(), strconv.Itoa(unit.PortSSH)), Allowed},
		{"Vault", vaultAddress(t.withRole(v1alpha1.RoleVault)[0]), Refused},
		{"the API", net.JoinHostPort(t.withRole(v1alpha1.RoleControlPlane)[0].Address.String(), strconv.Itoa(unit.PortAPIServer)), Refused},
		{"the bastion itself", net.JoinHostPort("127.0.0.1", strconv.Itoa(unit.PortSSH)), Refused},
	} {
		conn, err := c.Dial("tcp", a.address)
		if err == nil {
			_ = conn.Close()
		}
		out = append(out, attempt("go through the bastion to "+a.what, bastion.Name, as, a.want, err))
	}
	session, err := c.NewSession()
	if err == nil {
		_ = session.Close()
	}
	return append(out, attempt("have a shell on the bastion on the way", bastion.Name, as, Refused, err)), nil
}

// loginCanary is a session of somebody who is in no group, and what ends it.
func (t *Target) loginCanary(ctx context.Context) (*vault.Client, func(), error) {
	t.canary.Lock()
	password := rand.Text()
	if err := t.Vault.SetCanary(ctx, password); err != nil {
		t.canary.Unlock()
		return nil, nil, err
	}
	clean := func() {
		defer t.canary.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = t.Vault.RemoveCanary(ctx)
	}
	leader, err := t.vaultMachine(ctx)
	if err != nil {
		clean()
		return nil, nil, err
	}
	door, err := t.VaultAt(ctx, leader)
	if err != nil {
		clean()
		return nil, nil, err
	}
	session, _, err := door.LoginPerson(ctx, vault.Canary, password)
	if err != nil {
		door.Close()
		clean()
		return nil, nil, err
	}
	return session, func() { door.Close(); clean() }, nil
}
