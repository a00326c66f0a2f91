package phase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// replaceDroppedSSH is replaceDropped for the CAs of SSH. Their keys have no date: one that a machine's disk does not go by is
// replaced, which is no harm where it was not dropped.
func (c *Cluster) replaceDroppedSSH(ctx context.Context, root *vault.Client, j rotation.Journal) ([]Change, error) {
	if !c.Spec.Spec.Bastion() {
		return nil, nil
	}
	engines := trustedSSH(j)
	cas, err := root.SSHCAs(ctx, engines)
	if errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrDenied) { // the bastion came after the backup
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, of := range []struct {
		target     rotation.Target
		keys, file string
	}{{rotation.SSHUsers, cas.UserCA, unit.SSHUserCA}, {rotation.SSHHosts, cas.HostCA, unit.SSHHostCert(unit.SSHHostKey)}} {
		if slices.Contains(j.Targets(), of.target) {
			continue // the backup is from the middle of it: `up` finishes it
		}
		disks, err := c.onDisks(ctx, of.file)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(disks, func(disk string) bool { return !goesByKey(disk, of.keys) }) {
			continue
		}
		if err := root.ReplaceSSHCA(ctx, engines[of.target.SSHCA()][0]); err != nil {
			return nil, err
		}
		out = append(out, Change{Time: time.Now(), What: fmt.Sprintf("CA %s was replaced", of.target)})
	}
	return out, nil
}

// onDisks is a file of every machine that has it.
func (c *Cluster) onDisks(ctx context.Context, path string) ([]string, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range machines {
		if m.State == provider.Absent {
			continue
		}
		b, err := c.Provider.Read(ctx, m.Name, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", path, m.Name, err)
		}
		out = append(out, string(b))
	}
	return out, nil
}

// goesByKey says whether a file names a CA's key among those that it trusts, or is a certificate by it.
func goesByKey(file, key string) bool {
	if strings.Contains(file, strings.TrimSpace(key)) {
		return true
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(file))
	if err != nil {
		return false
	}
	cert, ok := public.(*ssh.Certificate)
	return ok && string(ssh.MarshalAuthorizedKey(cert.SignatureKey)) == key
}
