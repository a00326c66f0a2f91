package phase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/etcdsnap"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// backupTimeout is how long one part may take.
const backupTimeout = 10 * time.Minute

// Backup writes a snapshot of each etcd cluster, and then of Vault, which so has every key that etcd needs.
func Backup(ctx context.Context, c *Cluster, w io.Writer, to []age.Recipient, progress *ui.Progress) (backup.Manifest, error) {
	m, err := c.manifest()
	if err != nil {
		return m, err
	}
	out, err := backup.Create(w, m, to...)
	if err != nil {
		return m, err
	}
	for _, e := range unit.EtcdClusters {
		progress.Begin(e.UnitName())
		err := c.backupEtcd(ctx, e, out, progress)
		progress.End(err)
		if err != nil {
			return m, err
		}
	}
	progress.Begin("vault")
	err = c.backupVault(ctx, out, progress)
	progress.End(err)
	if err != nil {
		return m, err
	}
	return m, out.Close()
}

func (c *Cluster) manifest() (backup.Manifest, error) {
	if !c.Exists() {
		return backup.Manifest{}, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	if err := c.unfinishedRestore(); err != nil {
		return backup.Manifest{}, err
	}
	keys, err := vault.ReadKeys(c.keysFile())
	if err != nil {
		return backup.Manifest{}, err
	}
	if len(keys.Shares) == 0 {
		return backup.Manifest{}, fmt.Errorf("there are no unseal keys at %s: without them nobody could open the backup of Vault", c.keysFile())
	}
	id := c.wantIdentity()
	id.ID = c.ID
	identity, err := json.Marshal(id)
	m := backup.Manifest{Cluster: id.Name, ID: id.ID, Identity: identity, Time: time.Now().UTC(),
		KubernetesVersion: c.Spec.Spec.KubernetesVersion, UnsealKeys: digestOf(keys)}
	for _, e := range unit.EtcdClusters {
		m.Parts = append(m.Parts, backup.Etcd(e.Name))
	}
	m.Parts = append(m.Parts, backup.Vault)
	return m, err
}

// digestOf tells keys apart without telling them: they are random, so there is nothing to guess.
func digestOf(keys vault.Keys) string {
	sum := sha256.Sum256([]byte("ashlar unseal keys\n" + strings.Join(keys.Shares, "\n")))
	return hex.EncodeToString(sum[:])
}

// backupEtcd asks the members in turn, until one gives a snapshot.
func (c *Cluster) backupEtcd(ctx context.Context, e unit.EtcdCluster, out *backup.Writer, progress *ui.Progress) error {
	machines, err := c.withRole(ctx, v1alpha1.RoleEtcd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, backupTimeout)
	defer cancel()
	var errs []error
	for _, m := range machines {
		begun := false
		err := c.receive(ctx, m, e, func(size int64, snapshot io.Reader) error {
			begun = true
			progress.Detail("%s: %s", m.Name, mebibytes(size))
			return out.Add(backup.Etcd(e.Name), size, snapshot)
		})
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("back up %s of %s: %w", e.UnitName(), m.Name, err))
		if begun {
			break // half of it is written
		}
	}
	return errors.Join(errs...)
}

// receive gives f a snapshot as it comes from a machine.
func (c *Cluster) receive(ctx context.Context, m provider.Machine, e unit.EtcdCluster, f func(int64, io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	var said bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := c.Provider.Exec(ctx, m.Name, provider.Exec{Args: []string{unit.Bin + "/ashlar", "etcd-snapshot", e.Name}, Stdout: w, Stderr: &said})
		w.CloseWithError(err) // io.EOF if it is nil
		ended <- err
	}()
	size, snapshot, err := etcdsnap.Receive(r)
	if err == nil {
		err = f(size, snapshot)
	}
	if err != nil {
		cancel()
		r.CloseWithError(err)
	}
	if failed := <-ended; failed != nil && said.Len() > 0 {
		return errors.New(strings.TrimSpace(said.String()))
	}
	return err
}

func (c *Cluster) backupVault(ctx context.Context, out *backup.Writer, progress *ui.Progress) error {
	keys, err := vault.ReadKeys(c.keysFile())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, backupTimeout)
	defer cancel()
	client, err := c.anyVault(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	var snapshot bytes.Buffer // megabytes, and sealed
	if err := client.WithRoot(ctx, keys, func(root *vault.Client) error { return root.SaveSnapshot(ctx, &snapshot) }); err != nil {
		return fmt.Errorf("back up Vault: %w", err)
	}
	progress.Detail("%s", mebibytes(int64(snapshot.Len())))
	return out.Add(backup.Vault, int64(snapshot.Len()), &snapshot)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// withRole are the declared machines of a role.
func (c *Cluster) withRole(ctx context.Context, role v1alpha1.Role) ([]provider.Machine, error) {
	machines, err := c.Machines(ctx)
	var out []provider.Machine
	for _, m := range machines {
		if m.Role == role {
			out = append(out, m)
		}
	}
	return out, err
}
