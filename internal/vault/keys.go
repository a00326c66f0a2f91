package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Keys open a sealed Vault, and make root tokens. They are the most secret thing of a cluster.
type Keys struct {
	// Shares are base64; any Threshold of them suffice.
	Shares    []string `json:"shares,omitempty"`
	Threshold int      `json:"threshold,omitempty"`
	// Intended is set from before Vault is initialised until its keys are recorded.
	Intended bool `json:"intended,omitempty"`
}

// String keeps keys out of logs and messages.
func (k Keys) String() string { return fmt.Sprintf("%d unseal keys", len(k.Shares)) }

// GoString does the same for %#v.
func (k Keys) GoString() string { return k.String() }

func (k Keys) recorded() bool { return len(k.Shares) > 0 }

// ReadKeys reads a file of keys; the zero Keys if there is none. A file that others may read is refused.
func ReadKeys(path string) (Keys, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, nil
	}
	if err != nil {
		return Keys{}, fmt.Errorf("unseal keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Keys{}, fmt.Errorf("unseal keys: others may read %s (mode %04o); if nobody has, `chmod 600` it", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, fmt.Errorf("unseal keys: %w", err)
	}
	var k Keys
	if json.Unmarshal(b, &k) != nil || (len(k.Shares) == 0 && !k.Intended) {
		return Keys{}, fmt.Errorf("unseal keys: %s is damaged; restore it from a copy", path)
	}
	return k, nil
}

// Store replaces the recorded keys at path by these.
func (k Keys) Store(path string) error { return k.write(path) }

// write replaces the file as a whole, and returns when file and name are on the disk.
func (k Keys) write(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("record the unseal keys: %w", err)
		}
	}()
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
