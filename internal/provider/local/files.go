package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/provider"
)

// Write implements provider.Provider. It goes through the host: no link inside the machine leads out of its root.
func (p *Provider) Write(ctx context.Context, name string, files []provider.File) error {
	root, err := p.openRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return writeFiles(ctx, name, root, files)
}

func writeFiles(ctx context.Context, name string, root *os.Root, files []provider.File) error {
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := insideDisk(f.Path)
		if err == nil {
			err = root.MkdirAll(path.Dir(rel), 0o755)
		}
		if err == nil {
			err = writeAtomically(root, rel, f.Content, fs.FileMode(f.Mode)&fs.ModePerm)
		}
		if err != nil {
			return fmt.Errorf("machine %s: write %s: %w", name, f.Path, err)
		}
	}
	return nil
}

// Read implements provider.Provider. Only regular files are read.
func (p *Provider) Read(_ context.Context, name, file string) ([]byte, error) {
	root, err := p.openRoot(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	b, err := read(root, file)
	if err != nil {
		return nil, fmt.Errorf("machine %s: read %s: %w", name, file, err)
	}
	return b, nil
}

func read(root *os.Root, file string) ([]byte, error) {
	rel, err := insideDisk(file)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	return io.ReadAll(f)
}

func (p *Provider) openRoot(name string) (*os.Root, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(p.rootfs(name))
	if err != nil {
		return nil, fmt.Errorf("machine %s has no disk: %w", name, err)
	}
	return root, nil
}

// notDisk are the trees that a running machine sees something else at than its disk.
var notDisk = []string{"run", "tmp", "proc", "sys", "dev", "usr", "bin", "sbin", "lib", "lib64", strings.TrimPrefix(bundleInMachine, "/")}

// insideDisk returns the path relative to the machine's root.
func insideDisk(file string) (string, error) {
	if !path.IsAbs(file) || path.Clean(file) == "/" {
		return "", errors.New("not an absolute path of a file")
	}
	rel := strings.TrimPrefix(path.Clean(file), "/")
	for _, tree := range notDisk {
		if rel == tree || strings.HasPrefix(rel, tree+"/") {
			return "", fmt.Errorf("/%s is not on the machine's disk: use exec", tree)
		}
	}
	return rel, nil
}

// writeAtomically replaces a file: after a crash there is the old one or the new one, whole.
func writeAtomically(root *os.Root, name string, content []byte, mode fs.FileMode) error {
	temp := path.Join(path.Dir(name), ".ashlar-"+rand.Text())
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
		return err
	}
	dir, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
