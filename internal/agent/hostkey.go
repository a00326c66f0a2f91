package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// hostKey gets a new SSH host key with a certificate where it is due, and says whether it did. As any key it is made here,
// and stays here.
func (s *session) hostKey(ctx context.Context, units []unit.Unit, d unit.Desired) (bool, error) {
	path := hostKeyPath(units)
	if path == "" || d.SSH == nil {
		return false, nil
	}
	have, err := loadHostKey(path)
	if err != nil {
		return false, err
	}
	reason := hostKeyDue(have, d.Self, d.SSH.HostCA, time.Now().Add(-s.client.Skew()))
	if reason == "" {
		return false, nil
	}
	public, private, err := newHostKey()
	if err != nil {
		return false, err
	}
	cert, err := s.client.SignHostKey(ctx, cmp.Or(d.SSH.HostEngine, vault.SSHHosts), public, d.Self)
	if err != nil {
		return false, err
	}
	s.log.Info("host key", "because", reason)
	// sshd reads them when it is told to: not between the two.
	if err := writeFile(path, private, 0o600); err != nil {
		return false, fmt.Errorf("install the host key: %w", err)
	}
	if err := writeFile(unit.SSHHostCert(path), []byte(cert), 0o644); err != nil {
		return false, fmt.Errorf("install the host key's certificate: %w", err)
	}
	return true, nil
}

func hostKeyPath(units []unit.Unit) string {
	for _, u := range units {
		if u.HostKey != "" {
			return u.HostKey
		}
	}
	return ""
}

// newHostKey is a key as OpenSSH writes both of its halves.
func newHostKey() (public string, private []byte, err error) {
	pair, err := sshkey.New()
	return pair.Public, []byte(pair.Private), err
}

// loadHostKey reads a host key's certificate; nil if there is none that goes with the key.
func loadHostKey(path string) (*ssh.Certificate, error) {
	private, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(unit.SSHHostCert(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, nil // damaged: another is made
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, nil
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok || !bytes.Equal(cert.Key.Marshal(), key.PublicKey().Marshal()) {
		return nil, nil
	}
	return cert, nil
}

// hostKeyDue says why a new host key is needed now; empty if it is not. Of the trusted CAs the first signs.
func hostKeyDue(have *ssh.Certificate, machine, trusted string, now time.Time) string {
	signer, _, _ := strings.Cut(trusted, "\n")
	switch {
	case have == nil:
		return "there is none that can be used"
	case have.CertType != ssh.HostCert || !slices.Equal(have.ValidPrincipals, []string{machine}):
		return "it is for " + strings.Join(have.ValidPrincipals, ", ")
	case !now.Before(until(have)):
		return "it has expired"
	case since(have).After(now.Add(time.Minute)): // clocks may differ
		return "it is not valid yet"
	case string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(have.SignatureKey))) != signer:
		return "another CA signs"
	case !now.Before(renewHostKeyAt(have)):
		return "half of its life is over"
	}
	return ""
}

func since(c *ssh.Certificate) time.Time { return time.Unix(int64(c.ValidAfter), 0) }
func until(c *ssh.Certificate) time.Time { return time.Unix(int64(c.ValidBefore), 0) }

func renewHostKeyAt(c *ssh.Certificate) time.Time { return renewAt(since(c), until(c), c.Serial) }

// describeHostKey is what status says of the host key, if there is one.
func describeHostKey(units []unit.Unit) *HostKeyStatus {
	path := hostKeyPath(units)
	if path == "" {
		return nil
	}
	c, err := loadHostKey(path)
	if err != nil || c == nil {
		return nil
	}
	return &HostKeyStatus{Serial: strconv.FormatUint(c.Serial, 10), Fingerprint: ssh.FingerprintSHA256(c.Key),
		CA: ssh.FingerprintSHA256(c.SignatureKey), NotAfter: until(c).UTC(), Renew: renewHostKeyAt(c).UTC()}
}

// reloadHostKey tells sshd to read its host key again.
func (s *supervisor) reloadHostKey() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.units {
		if r.proc != nil && r.spec.HostKey != "" && r.spec.ReloadSignal != 0 {
			_ = r.proc.signal(unix.Signal(r.spec.ReloadSignal))
		}
	}
}
