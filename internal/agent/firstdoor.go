package agent

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/unit"
)

// firstHostKeyTTL is how long a host key is good that Vault has not signed: it is made anew until Vault does.
const firstHostKeyTTL = 24 * time.Hour

// openFirstDoor makes the bastion of a cloud a host key before there is anybody to sign it. It signs itself, as the first
// certificate of Vault's does, and is known by what the machine publishes: see announce.
func (a *Agent) openFirstDoor(units []unit.Unit, d unit.Desired) error {
	path := hostKeyPath(units)
	if a.place == nil || path == "" {
		return nil
	}
	made, err := firstHostKey(path, d, time.Now())
	if made {
		a.sup.reloadHostKey()
	}
	return err
}

// firstHostKey makes one, unless there is one that is good.
func firstHostKey(path string, d unit.Desired, now time.Time) (bool, error) {
	if d.SSH != nil {
		return false, nil // Vault signs
	}
	have, err := loadHostKey(path)
	if err != nil || have != nil && now.Before(until(have)) {
		return false, err
	}
	_, private, err := newHostKey()
	if err != nil {
		return false, err
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return false, err
	}
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, KeyId: "first", ValidPrincipals: []string{d.Self},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(firstHostKeyTTL).Unix())}
	if err := cert.SignCert(rand.Reader, key); err != nil {
		return false, err
	}
	err = cmp.Or(writeFile(path, private, 0o600), writeFile(unit.SSHHostCert(path), ssh.MarshalAuthorizedKey(cert), 0o644))
	if err != nil {
		return false, fmt.Errorf("install the first host key: %w", err)
	}
	return true, nil
}

// hostAuthority is who signs the host key, as a public key; nothing if there is none yet.
func hostAuthority(path string) ([]byte, error) {
	have, err := loadHostKey(path)
	if err != nil || have == nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(have.SignatureKey), nil
}
