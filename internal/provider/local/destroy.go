package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Destroy implements provider.Provider. It finds what to remove on the host itself, by the cluster's name, so that
// a lost state directory does not leave anything running.
func (p *Provider) Destroy(ctx context.Context) error {
	names, err := p.traces()
	if err != nil {
		return fmt.Errorf("destroy cluster %s: %w", p.Cluster, err)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error { return p.Delete(gctx, name) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("destroy cluster %s: %w", p.Cluster, err)
	}
	err = errors.Join(
		removeNamespace(p.internetNamespace()),
		removeNamespace(p.fabricNamespace()),
		clearCgroup("/ashlar/"+p.Cluster),
		os.RemoveAll(p.runDir()),
		os.RemoveAll(p.machinesDir()),
	)
	if err != nil {
		return fmt.Errorf("destroy cluster %s: %w", p.Cluster, err)
	}
	return removeIfEmpty()
}

// traces are the names of all machines that have left something on this host.
func (p *Provider) traces() ([]string, error) {
	roots, err := cgroupRoots()
	if err != nil {
		return nil, err
	}
	dirs := []string{p.machinesDir(), p.runcRoot()}
	for _, root := range roots {
		dirs = append(dirs, filepath.Join(root, "ashlar", p.Cluster))
	}
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && checkName(e.Name()) == nil {
				names = append(names, e.Name())
			}
		}
	}
	namespaces, err := filepath.Glob(namespacePath(p.machineNamespacePrefix()) + "*")
	for _, n := range namespaces {
		names = append(names, strings.TrimPrefix(filepath.Base(n), p.machineNamespacePrefix()))
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// removeIfEmpty removes the directories that all clusters share, if this was the last.
func removeIfEmpty() error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	dirs := []string{"/run/ashlar"}
	for _, root := range roots {
		dirs = append(dirs, filepath.Join(root, "ashlar"))
	}
	for _, dir := range dirs {
		err := unix.Rmdir(dir)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return nil
}
