package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Names of what is restored, for --only.
const (
	OnlyVault = "vault"
	OnlyEtcd  = "etcd"
)

// Only says which parts --only stands for; empty: all.
func (o *RestoreOptions) Only(what string) error {
	if what != "" && !slices.Contains([]string{OnlyVault, OnlyEtcd}, what) {
		return InputError{fmt.Errorf("--only %s: there is %s and %s", what, OnlyVault, OnlyEtcd)}
	}
	o.Vault, o.Etcd = what != OnlyEtcd, what != OnlyVault
	return nil
}

// restoreRecord is kept while a restore is under way: until it has come to its end nothing else may go on.
type restoreRecord struct {
	Vault bool `json:"vault"`
	Etcd  bool `json:"etcd"`
}

func (c *Cluster) restoreFile() string { return filepath.Join(c.Dir, "operator", "restore.json") }

func (c *Cluster) restoreUnderWay() (*restoreRecord, error) {
	b, err := os.ReadFile(c.restoreFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r restoreRecord
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.restoreFile(), err)
	}
	return &r, nil
}

// unfinishedRestore is an error as long as a restore has not come to its end.
func (c *Cluster) unfinishedRestore() error {
	r, err := c.restoreUnderWay()
	if err == nil && r != nil {
		err = InputError{errors.New("a restore of this cluster did not come to its end: run `ashlar restore` again")}
	}
	return err
}

// mayRestore refuses what must not be, before anything is touched, and returns the keys that open the backup's Vault.
func (c *Cluster) mayRestore(ctx context.Context, a *backup.Archive, o *RestoreOptions) (vault.Keys, error) {
	if err := c.sameCluster(a.Manifest); err != nil {
		return vault.Keys{}, err
	}
	if under, err := c.restoreUnderWay(); err != nil {
		return vault.Keys{}, err
	} else if under != nil {
		o.Replace, o.Vault, o.Etcd = true, o.Vault || under.Vault, o.Etcd || under.Etcd
	}
	keys, err := c.restoreKeys(a.Manifest, *o)
	if err != nil {
		return keys, err
	}
	if o.Etcd && !o.Vault {
		if err := c.unreadable(ctx, a.Manifest.Time); err != nil {
			return keys, err
		}
	}
	if o.Replace {
		return keys, nil
	}
	living, err := c.living(ctx, *o)
	if err == nil && len(living) > 0 {
		err = InputError{fmt.Errorf("%s: restoring would overwrite it; --replace does", strings.Join(living, "; "))}
	}
	return keys, err
}

// sameCluster refuses a backup of another cluster than the file's.
func (c *Cluster) sameCluster(m backup.Manifest) error {
	var of identity
	if err := json.Unmarshal(m.Identity, &of); err != nil {
		return fmt.Errorf("read whose backup it is: %w", err)
	}
	want := c.wantIdentity()
	want.ID = of.ID
	switch {
	case m.Cluster != want.Name || of != want:
		return InputError{fmt.Errorf("it is the backup of another cluster (%+v; the file says %+v)", of, want)}
	case c.Exists() && c.ID != m.ID:
		return InputError{fmt.Errorf("it is the backup of another cluster of this name (%s; there is %s now): remove that by `ashlar down` first", m.ID, c.ID)}
	}
	return nil
}

// restoreKeys are the unseal keys, if they are those of the backup.
func (c *Cluster) restoreKeys(m backup.Manifest, o RestoreOptions) (vault.Keys, error) {
	path := c.keysFile()
	if o.UnsealKeys != "" {
		path = o.UnsealKeys
	}
	keys, err := vault.ReadKeys(path)
	if err != nil {
		return keys, InputError{err}
	}
	if len(keys.Shares) == 0 {
		return keys, InputError{fmt.Errorf("there are no unseal keys at %s: without them nobody can open the Vault of the backup; name a copy by --unseal-keys", path)}
	}
	if digestOf(keys) != m.UnsealKeys {
		return keys, InputError{fmt.Errorf("the unseal keys at %s do not open the Vault of this backup: name those of its time by --unseal-keys", path)}
	}
	return keys, nil
}

// living names what is there of what would be restored.
func (c *Cluster) living(ctx context.Context, o RestoreOptions) ([]string, error) {
	var out []string
	if o.Vault {
		machines, err := c.vaultMachines(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			if c.holdsVault(ctx, m) {
				out = append(out, m.Name+" has a Vault")
			}
		}
	}
	if o.Etcd {
		machines, err := c.withRole(ctx, v1alpha1.RoleEtcd)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			for _, e := range unit.EtcdClusters {
				there, err := c.onDisk(ctx, m, e.DataDir()+"/member")
				if err != nil {
					return nil, err
				}
				if there {
					out = append(out, m.Name+" has data of "+e.UnitName())
				}
			}
		}
	}
	return out, nil
}
