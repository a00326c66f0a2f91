package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"filippo.io/age"
)

// Recipient is who can open a backup.
type Recipient = age.Recipient

// Identities reads a file of age identities, the keys that open backups. One that others may read is refused.
func Identities(path string) ([]age.Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the backups' key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read the backups' key: others may read %s (mode %04o); if nobody has, `chmod 600` it", path, info.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the backups' key: %w", err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("read the backups' key: %s is no file of age identities", path) // what age says may quote it
	}
	return ids, nil
}

// OwnRecipient is whom a key opens for.
func OwnRecipient(identity age.Identity) (age.Recipient, error) {
	switch i := identity.(type) {
	case *age.X25519Identity:
		return i.Recipient(), nil
	case *age.HybridIdentity:
		return i.Recipient(), nil
	}
	return nil, fmt.Errorf("cannot tell the recipient of a key of type %T: name it by --recipient", identity)
}

// Recipients reads recipients as age writes them: age1….
func Recipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	rs, err := age.ParseRecipients(strings.NewReader(strings.Join(texts, "\n")))
	if err != nil {
		return nil, fmt.Errorf("recipient %s: %w", strings.Join(texts, ", "), err)
	}
	return rs, nil
}

// EnsureIdentity makes a key at path unless there is one, and says whether it did.
func EnsureIdentity(path string, now time.Time) (made bool, err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("make a key for backups: %w", err)
	}
	_, err = fmt.Fprintf(f, "# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), id.Recipient(), id)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, fmt.Errorf("make a key for backups: %w", err)
	}
	return true, nil
}
