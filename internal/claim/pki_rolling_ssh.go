package claim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// rollingSSH looks for predecessors of the CAs of SSH: engines that have a key, keys that are trusted, and certificates of hosts.
func (t *Target) rollingSSH(ctx context.Context, j rotation.Journal) ([]Evidence, error) {
	if t.Desired.SSH == nil {
		return nil, nil
	}
	engines, err := t.Vault.SSHMounts(ctx)
	if err != nil {
		return nil, err
	}
	var out []Evidence
	for _, ca := range []string{vault.SSHHosts, vault.SSHUsers} {
		e := Evidence{Attempt: "find another key of CA ssh-" + ca, From: "vault", As: "operator", Want: Refused, Got: Refused, Answer: "it has one"}
		for _, name := range engines {
			if name != t.SSH[ca][0] && (name == ca || strings.HasPrefix(name, ca+"-")) {
				e.Got, e.Answer = Allowed, "engine "+name+" is still there"
			}
		}
		out = append(out, e)
	}
	for target, r := range j.Past {
		if ca := target.SSHCA(); ca != "" && slices.Contains(engines, r.Old) && r.Old != t.SSH[ca][0] {
			e := Evidence{Attempt: "find the predecessor of CA " + string(target), From: "vault", As: "operator", Want: Refused, Got: Allowed, Answer: r.Old}
			out = append(out, e)
		}
	}
	for _, m := range t.Desired.Machines {
		text, err := t.Provider.Read(ctx, m.Name, unit.SSHHostCert(unit.SSHHostKey))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		trusted, err := t.Provider.Read(ctx, m.Name, unit.SSHUserCA)
		if err != nil {
			return nil, err
		}
		out = append(out, hostSigner(m.Name, text, t.Desired.SSH.HostCA), sshTrust(m.Name, string(trusted), t.Desired.SSH.UserCA))
	}
	return out, nil
}

// hostSigner says whether a host key's certificate is by the CA that signs.
func hostSigner(machine string, text []byte, ca string) Evidence {
	e := Evidence{Attempt: "find a predecessor's signature in the host key's certificate", From: machine, As: "root", Want: Refused, Got: Allowed,
		Answer: "it is not by the key of CA ssh-host"}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	cert, ok := public.(*ssh.Certificate)
	if err == nil && ok && bytes.Equal(ssh.MarshalAuthorizedKey(cert.SignatureKey), []byte(ca)) {
		e.Got, e.Answer = Refused, "it is by the key of CA ssh-host"
	}
	return e
}

// sshTrust says whether sshd trusts one CA of people's, and which.
func sshTrust(machine, trusted, ca string) Evidence {
	e := Evidence{Attempt: "find a predecessor's key in " + unit.SSHUserCA, From: machine, As: "root", Want: Refused, Got: Refused, Answer: "it holds its own only"}
	if trusted != ca || strings.Count(ca, "\n") != 1 {
		e.Got, e.Answer = Allowed, fmt.Sprintf("it holds %d keys, or another", strings.Count(trusted, "\n"))
	}
	return e
}
