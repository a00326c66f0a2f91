package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// errTokenGone says that the machine must show an init token again.
var errTokenGone = errors.New("the machine's Vault token is gone")

// session is a machine's standing with Vault.
type session struct {
	boot   Boot
	client *vault.Client
	token  token
	log    *slog.Logger
	// reported is the version of the status document that this session wrote last.
	reported int
	// known is the version of the desired document that this session read last.
	known  int
	noting sync.Mutex
	// revoked are among others this machine's own certificates that it must replace.
	revoked []unit.Revocation
	// replaced are those that it has replaced, and that some process may still hold.
	replaced []unit.Certificate
}

// newSession logs in: by the kept token if that is still good, or else by the init token.
func newSession(ctx context.Context, boot Boot, log *slog.Logger) (*session, error) {
	client, err := NewClient(boot, "")
	if err != nil {
		return nil, err
	}
	s := &session{boot: boot, client: client, log: log}
	if t, ok := loadToken(); ok {
		s.token, s.client = t, client.WithToken(t.Token)
		err := s.renew(ctx)
		if err == nil || !errors.Is(err, errTokenGone) {
			return s, err
		}
	}
	return s, s.enrol(ctx, client)
}

// NewClient knows the machine's Vault by its boot document. A Vault machine asks its own server first, and
// trusts the certificate that it signed itself for it.
func NewClient(boot Boot, token string) (*vault.Client, error) {
	d := boot.Desired
	var addresses []string
	for _, m := range d.WithRole(v1alpha1.RoleVault) {
		a := net.JoinHostPort(m.Name, strconv.Itoa(unit.PortVault))
		if m.Name == d.Self {
			addresses = slices.Insert(addresses, 0, a)
		} else {
			addresses = append(addresses, a)
		}
	}
	trust := boot.VaultCA
	if d.Me().Role == v1alpha1.RoleVault {
		own, err := os.ReadFile(unit.ProfilesOf(v1alpha1.RoleVault)[0].For(d.Self).CertFile())
		if err == nil {
			trust += string(own)
		}
	}
	return vault.New(vault.Options{Cluster: d.Cluster, Addresses: addresses, CAs: trust, Token: token})
}

// enrol shows the init token, which the operator left on a new machine: good once, for minutes, from this machine's
// address only. One that can prove otherwise which machine it is needs none.
func (s *session) enrol(ctx context.Context, client *vault.Client) error {
	if s.boot.Attestation != nil {
		return s.attest(ctx, client, *s.boot.Attestation)
	}
	t, err := os.ReadFile(unit.InitTokenFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w, and there is no init token: run `ashlar up`", errTokenGone)
	}
	if err != nil {
		return err
	}
	machine, login, err := client.LoginMachine(ctx, s.boot.Desired.Self, string(t))
	if err != nil {
		return err
	}
	s.client, s.token = machine, token{Token: login.Token, TTL: login.TTL, Since: time.Now()}
	if err := s.token.save(); err != nil {
		return err
	}
	s.log.Info("logged in with the init token", "ttl", login.TTL)
	return os.Remove(unit.InitTokenFile)
}

// keepAlive renews the token when half of its life is over.
func (s *session) keepAlive(ctx context.Context) error {
	if !s.token.due(time.Now()) {
		return nil
	}
	return s.renew(ctx)
}

func (s *session) renew(ctx context.Context) error {
	login, err := s.client.RenewSelf(ctx)
	if errors.Is(err, vault.ErrDenied) {
		return fmt.Errorf("%w: %w", errTokenGone, err)
	}
	if err != nil {
		return err
	}
	s.token.TTL, s.token.Since = login.TTL, time.Now()
	return s.token.save()
}

// desired reads the machine's desired document, unless this session has read it already: it grows with the cluster, and
// Vault writes what it answers to its audit logs.
func (s *session) desired(ctx context.Context) (k kept, news bool, err error) {
	version, err := s.client.DocumentVersion(ctx, s.boot.document(), vault.Desired)
	if err != nil || version > 0 && version == s.known {
		return kept{}, false, err
	}
	k.Version, err = s.client.ReadDocument(ctx, s.boot.document(), vault.Desired, &k.Desired)
	if err == nil && k.Version == 0 {
		err = errors.New("it was not written yet: run `ashlar up`")
	}
	if err == nil {
		s.known = k.Version
	}
	if s.boot.Pool != "" {
		k.Desired = k.Desired.As(s.boot.Desired.Me())
	}
	return k, true, err
}

// report writes the machine's status. Nobody else writes it, but an earlier life of this agent may have.
func (s *session) report(ctx context.Context, st Status) error {
	version, err := s.client.WriteDocument(ctx, st.Machine, vault.Status, s.reported, st)
	if errors.Is(err, vault.ErrConflict) {
		var old Status
		if version, err = s.client.ReadDocument(ctx, st.Machine, vault.Status, &old); err == nil {
			version, err = s.client.WriteDocument(ctx, st.Machine, vault.Status, version, st)
		}
	}
	if err == nil {
		s.reported = version
	}
	return err
}

// Backdating is how far Vault sets a certificate's beginning back.
const Backdating = 30 * time.Second

// certificates gets those that are missing or due, side by side, and returns the ones it got.
func (s *session) certificates(ctx context.Context, units []unit.Unit, d unit.Desired) ([]unit.Certificate, error) {
	var mu sync.Mutex
	var renewed []unit.Certificate
	var errs []error
	g := errgroup.Group{}
	g.SetLimit(4)
	for _, c := range wanted(units) {
		g.Go(func() error {
			got, err := s.certificate(ctx, c, d.CAs[c.Profile.CA], d.Issuers[c.Profile.CA])
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: %w", c.Profile.CA, c.Profile.Name, err))
			}
			if got {
				renewed = append(renewed, c)
			}
			return nil
		})
	}
	_ = g.Wait()
	return renewed, errors.Join(errs...)
}

// wanted is every certificate that some unit needs, once.
func wanted(units []unit.Unit) []unit.Certificate {
	var out []unit.Certificate
	seen := map[string]bool{}
	for _, u := range units {
		for _, c := range u.Certificates {
			if !seen[c.Profile.CertFile()] {
				seen[c.Profile.CertFile()] = true
				out = append(out, c)
			}
		}
	}
	return out
}

func (s *session) certificate(ctx context.Context, c unit.Certificate, trusted, issuer string) (bool, error) {
	have, err := loadCertificate(c.Profile)
	if err != nil {
		return false, err
	}
	reason := due(have, c, trusted, issuer, time.Now().Add(-s.client.Skew())) // by Vault's clock, which its certificates go by
	if reason == "" && have.NotBefore.Before(s.boot.RenewBefore.Add(-Backdating)) {
		reason = "the Vault that signed it is lost"
	}
	revoked := have != nil && s.isRevoked(c.Profile.CA, have)
	if reason == "" && revoked {
		reason = "it was revoked"
	}
	if reason == "" {
		return false, nil
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return false, err
	}
	csr, err := request(key, c.Profile.CommonName)
	if err != nil {
		return false, err
	}
	cert, err := s.client.Sign(ctx, c.Profile, string(csr), c.IPs...)
	if err != nil {
		return false, err
	}
	if err := s.note(cert, time.Now()); err != nil {
		return false, err
	}
	s.log.Info("certificate", "ca", c.Profile.CA, "name", c.Profile.Name, "because", reason)
	if err := install(c.Profile, []byte(cert.Chain), keyPEM); err != nil {
		return false, err
	}
	if revoked {
		s.replace(c)
	}
	return true, nil
}

// secrets puts each secret that a unit needs into its file, and says whether any was missing.
func (s *session) secrets(ctx context.Context, units []unit.Unit) (written bool, err error) {
	for _, u := range units {
		for _, secret := range u.Secrets {
			if _, err := os.Stat(secret.Path); err == nil {
				continue
			}
			fields, err := s.client.ReadSecret(ctx, secret.Document)
			if err != nil {
				return written, err
			}
			if err := writeFile(secret.Path, []byte(fields[secret.Field]), 0o600); err != nil {
				return written, err
			}
			written = true
		}
	}
	return written, nil
}
