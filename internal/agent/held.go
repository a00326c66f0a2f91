package agent

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// heldFile is where the agent notes what it obtained, until that has expired: whoever reads Vault's log can then tell its
// certificates from those that somebody else got in the machine's name.
const heldFile = stateDir + "/certificates.json"

// obtained is a certificate that the agent got.
type obtained struct {
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"notAfter"`
}

func loadHeld(file string) ([]obtained, error) {
	var all []obtained
	err := loadJSON(file, &all)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// note adds a certificate before it is used, and forgets those that have expired.
func (s *session) note(cert vault.Certificate, now time.Time) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	return addHeld(heldFile, obtained{Serial: cert.Serial, NotAfter: cert.NotAfter.UTC()}, now)
}

func addHeld(file string, more obtained, now time.Time) error {
	all, _ := loadHeld(file) // a damaged note keeps nobody from a certificate
	all = slices.DeleteFunc(all, func(o obtained) bool { return !now.Before(o.NotAfter) })
	b, err := json.Marshal(append(all, more))
	if err != nil {
		return err
	}
	if err := writeFile(file, b, 0o600); err != nil {
		return fmt.Errorf("note a certificate: %w", err)
	}
	return nil
}

// isRevoked says whether a certificate must be replaced before its time.
func (s *session) isRevoked(ca unit.CA, cert *x509.Certificate) bool {
	return slices.ContainsFunc(s.revoked, func(r unit.Revocation) bool { return r.CA == ca && r.Serial == colons(cert.SerialNumber) })
}

// replace notes that a revoked certificate has a successor, which whoever holds it in memory would turn to in minutes only.
func (s *session) replace(c unit.Certificate) {
	s.noting.Lock()
	defer s.noting.Unlock()
	s.replaced = append(s.replaced, c)
}

func (s *session) takeReplaced() []unit.Certificate {
	s.noting.Lock()
	defer s.noting.Unlock()
	out := s.replaced
	s.replaced = nil
	return out
}

// restart ends the processes that use one of these certificates: they come back, with its successor.
func (s *supervisor) restart(using []unit.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.units {
		// One that hears a signal has been told; Vault, restarted, would be sealed.
		if r.proc != nil && r.spec.ReloadSignal == 0 && slices.ContainsFunc(r.spec.Certificates, func(c unit.Certificate) bool {
			return slices.ContainsFunc(using, func(u unit.Certificate) bool { return u.Profile.CertFile() == c.Profile.CertFile() })
		}) {
			_ = r.proc.signal(unix.SIGTERM)
		}
	}
}

// held are the serial numbers of what the agent obtained and has not expired.
func held(file string, now time.Time) []string {
	all, _ := loadHeld(file) // what cannot be read is no account
	var out []string
	for _, o := range all {
		if now.Before(o.NotAfter) {
			out = append(out, o.Serial)
		}
	}
	slices.Sort(out)
	return out
}
