package phase

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// restoreEtcd gives each cluster's snapshot to all its members at once.
func (c *Cluster) restoreEtcd(ctx context.Context, a *backup.Archive, report *RestoreReport, progress *ui.Progress) error {
	machines, err := c.withRole(ctx, v1alpha1.RoleEtcd)
	if err != nil {
		return err
	}
	for _, e := range unit.EtcdClusters {
		progress.Detail("%s", e.UnitName())
		bump := unit.RevisionBump(time.Now())
		token := c.ID + "-" + e.Name + "-" + strings.ToLower(rand.Text()) // a member that was not restored must not find the others
		err := a.Part(backup.Etcd(e.Name), func(snapshot io.Reader) error { return c.sendSnapshot(ctx, machines, e, token, bump, snapshot) })
		if err != nil {
			return err
		}
		report.Parts = append(report.Parts, backup.Etcd(e.Name))
	}
	progress.Detail("%d clusters, each on %d machines", len(unit.EtcdClusters), len(machines))
	return nil
}

func (c *Cluster) sendSnapshot(ctx context.Context, machines []provider.Machine, e unit.EtcdCluster, token string, bump int64, snapshot io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, backupTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	var inputs []io.Writer
	var pipes []*io.PipeWriter
	for _, m := range machines {
		r, w := io.Pipe()
		inputs, pipes = append(inputs, w), append(pipes, w)
		g.Go(func() error {
			var said bytes.Buffer
			err := c.Provider.Exec(ctx, m.Name, provider.Exec{
				Args: []string{unit.Bin + "/ashlar", "etcd-restore", e.Name, "--token=" + token, fmt.Sprintf("--bump=%d", bump)}, Stdin: r, Stdout: &said, Stderr: &said})
			if err != nil {
				err = fmt.Errorf("restore %s of %s: %w: %s", e.UnitName(), m.Name, err, strings.TrimSpace(said.String()))
			}
			r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
			return err
		})
	}
	g.Go(func() error {
		_, err := io.Copy(io.MultiWriter(inputs...), snapshot)
		for _, w := range pipes {
			w.CloseWithError(err) // io.EOF if it is nil
		}
		if errors.Is(err, io.ErrClosedPipe) {
			return nil // the machine says why
		}
		return err
	})
	return g.Wait()
}
