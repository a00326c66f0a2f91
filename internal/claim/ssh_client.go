package claim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// sshKey is a key of a probe's own, in memory.
type sshKey struct {
	signer ssh.Signer
	public string
	cert   *ssh.Certificate // nil: it has none
}

func newSSHKey() (sshKey, error) {
	pair, err := sshkey.New()
	if err != nil {
		return sshKey{}, err
	}
	signer, err := ssh.ParsePrivateKey([]byte(pair.Private))
	return sshKey{signer: signer, public: pair.Public}, err
}

// with is the key with a certificate.
func (k sshKey) with(cert string) (sshKey, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(cert))
	if err != nil {
		return k, err
	}
	c, ok := public.(*ssh.Certificate)
	if !ok {
		return k, errors.New("it is no certificate")
	}
	k.cert = c
	k.signer, err = ssh.NewCertSigner(c, k.signer)
	return k, err
}

// operatorSSH is a key that Vault signed for the operator to enter a machine.
func (t *Target) operatorSSH(ctx context.Context, machine string) (sshKey, error) {
	return t.signedSSH(ctx, machine, t.Vault.SignOperatorKey)
}

func (t *Target) signedSSH(ctx context.Context, machine string, sign func(ctx context.Context, engine, public, machine string) (string, error)) (sshKey, error) {
	k, err := newSSHKey()
	if err != nil {
		return k, err
	}
	cert, err := sign(ctx, t.SSH[vault.SSHUsers][0], k.public, machine)
	if err != nil {
		return k, err
	}
	return k.with(cert)
}

// expired waits until a certificate has, by any clock that is not far behind.
func expired(ctx context.Context, c *ssh.Certificate) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(time.Unix(int64(c.ValidBefore), 0)) + skew):
		return nil
	}
}

// skew is how far a machine's clock may be.
const skew = 2 * time.Second

// selfSigned is a key with a certificate by a CA of nobody's, good for a day.
func selfSigned(id string, principals ...string) (sshKey, error) {
	k, err := newSSHKey()
	if err != nil {
		return k, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return k, err
	}
	ca, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return k, err
	}
	now := time.Now()
	c := &ssh.Certificate{Key: k.signer.PublicKey(), CertType: ssh.UserCert, KeyId: id, ValidPrincipals: principals, Serial: 1,
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(24 * time.Hour).Unix())}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		return k, err
	}
	return k.with(string(ssh.MarshalAuthorizedKey(c)))
}

// sshAddress is that of a machine's sshd, and from where it is reached.
func sshAddress(bastion, m provider.Machine) (from, address string) {
	from, to := bastion.Name, m.Address
	if m.Name == bastion.Name {
		from = provider.FromOperator
		if m.Public.IsValid() {
			from, to = provider.FromTrusted, m.Public
		}
	}
	return from, net.JoinHostPort(to.String(), strconv.Itoa(unit.PortSSH))
}

// dialSSH opens a session with a machine's sshd. Its host key must be certified for it.
func (t *Target) dialSSH(ctx context.Context, bastion, m provider.Machine, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	from, address := sshAddress(bastion, m)
	conn, err := t.Provider.Dial(ctx, from, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	checker := ssh.CertChecker{IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
		return bytes.Contains([]byte(t.Desired.SSH.HostCA), ssh.MarshalAuthorizedKey(ca))
	}}
	c, channels, requests, err := ssh.NewClientConn(conn, net.JoinHostPort(m.Name, strconv.Itoa(unit.PortSSH)), &ssh.ClientConfig{User: user, Auth: auth,
		HostKeyCallback: checker.CheckHostKey, HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01}})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// enterSSH tries to run something on a machine. Only what sshd says of credentials is a refusal.
func (t *Target) enterSSH(ctx context.Context, bastion, m provider.Machine, user, with string, want Expectation, auth ssh.AuthMethod) (Evidence, error) {
	from, _ := sshAddress(bastion, m)
	e := Evidence{Attempt: fmt.Sprintf("enter %s as %s with %s", m.Name, user, with), From: from, As: with, Want: want, Got: Refused}
	c, err := t.dialSSH(ctx, bastion, m, user, auth)
	switch {
	case err == nil:
	case !strings.Contains(err.Error(), "unable to authenticate"):
		return e, err
	case strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "keyboard-interactive"):
		// The client tries what it is asked for, and was asked for this.
		e.Got, e.Answer = Allowed, "it was asked for a password: "+err.Error()
		return e, nil
	default:
		e.Answer = err.Error()
		return e, nil
	}
	defer func() { _ = c.Close() }()
	session, err := c.NewSession()
	if err == nil {
		var who []byte
		if who, err = session.Output("id -un"); err == nil {
			e.Got, e.Answer = Allowed, "it is "+strings.TrimSpace(string(who))
			return e, nil
		}
	}
	return e, err
}
