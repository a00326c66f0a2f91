package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Bundle is a bundle on disk. Open has read its manifest; only Verify looks at its files.
type Bundle struct {
	Dir      string // absolute, without symbolic links: it stays the same when `current` moves on
	Digest   string // SHA-256 of the manifest, in hex
	Manifest Manifest

	record string // file of what was verified earlier
}

var digestName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Open reads a bundle's manifest. A directory that is named by a digest must have that digest.
func Open(dir string) (*Bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, missing(dir, err)
	}
	content, err := os.ReadFile(filepath.Join(resolved, manifestName))
	if err != nil {
		return nil, missing(dir, err)
	}
	b := &Bundle{Dir: resolved, Digest: sum(content)}
	if name := filepath.Base(resolved); digestName.MatchString(name) && name != b.Digest {
		return nil, fmt.Errorf("bundle %s: %s has been changed (its digest is %s): run `make bundle`", resolved, manifestName, b.Digest)
	}
	if b.Manifest, err = decode(content); err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", resolved, manifestName, err)
	}
	b.record = recordFor(resolved)
	return b, nil
}

// recordFor is beside the bundle's store if it is in one, else in the caller's own cache.
func recordFor(dir string) string {
	cache := filepath.Dir(filepath.Dir(dir))
	if filepath.Base(filepath.Dir(dir)) != bundlesDir {
		own, err := CacheDir()
		if err != nil {
			return ""
		}
		cache = own
	}
	return filepath.Join(cache, recordFile)
}

func missing(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no bundle at %s: run `make bundle`: %w", dir, err)
	}
	return fmt.Errorf("opening the bundle at %s: %w", dir, err)
}

// File returns where a file of the bundle is, by its name (kubelet, calico-ipam, coredns.tar); "" if there is none.
func (b *Bundle) File(name string) string {
	for _, f := range b.Manifest.Files {
		if f.Name == name {
			return filepath.Join(b.Dir, f.Path)
		}
	}
	return ""
}

// Versions returns the version of each component. That of ashlar itself is a digest.
func (b *Bundle) Versions() map[string]string {
	versions := map[string]string{}
	for _, f := range b.Manifest.Files {
		versions[f.Component] = f.Version
	}
	return versions
}

// Image returns an image by its name (pause, coredns, agnhost, ashlar).
func (b *Bundle) Image(name string) (Image, bool) {
	for _, i := range b.Manifest.Images {
		if i.Name == name {
			return i, true
		}
	}
	return Image{}, false
}

// Verify reads every file of the bundle and returns an error that names each one that was changed, is missing, or
// does not belong to it.
func (b *Bundle) Verify(ctx context.Context) error {
	fresh := &record{file: b.record, known: map[inode]recorded{}}
	return b.verifyAndSave(ctx, fresh)
}

// VerifyQuick is Verify, but does not read files again whose size, inode, modification and change times are those of
// an earlier verification, as a record beside the bundle (never in it) has them.
//
// Is that safe? Any write to a file moves its change time, which no system call can set back, and files written too
// shortly before they were read are never taken from the record. What it can miss is done below the file system (a
// failing disk, a write to the block device), with the clock set back to the nanosecond, or in the record itself. All
// three need root, or the owner of the bundle, who could as well change the program that verifies: so it is as good as
// Verify against accidents and against everyone who is not already in command of the host, and no protection against
// one who is. A record that others could have written is not used.
func (b *Bundle) VerifyQuick(ctx context.Context) error {
	return b.verifyAndSave(ctx, loadRecord(b.record))
}

func (b *Bundle) verifyAndSave(ctx context.Context, r *record) error {
	err := b.verify(ctx, r)
	if e := r.save(); e != nil {
		return err // a record that cannot be kept costs time, no more
	}
	return err
}

func (b *Bundle) verify(ctx context.Context, r *record) error {
	if err := check(ctx, b.Dir, b.Manifest.Files, r, manifestName); err != nil {
		return fmt.Errorf("bundle %s is not what its manifest says (run `make bundle`):\n%w", b.Dir, err)
	}
	return nil
}

// Locate returns where the bundle is: the explicit directory, else $ASHLAR_BUNDLE, else the newest in the cache.
func Locate(explicit string) (string, error) {
	if explicit != "" {
		return explicit, nil
	}
	if env := os.Getenv("ASHLAR_BUNDLE"); env != "" {
		return env, nil
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	current := filepath.Join(cache, currentLnk)
	if _, err := os.Stat(current); err != nil {
		return "", missing(current, err)
	}
	return current, nil
}

// CacheDir is where bundles are built: $ASHLAR_CACHE, else /var/cache/ashlar for root, else in the user's own cache.
func CacheDir() (string, error) {
	if env := os.Getenv("ASHLAR_CACHE"); env != "" {
		return filepath.Abs(env)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/ashlar", nil
	}
	own, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache directory (set ASHLAR_CACHE): %w", err)
	}
	return filepath.Join(own, "ashlar"), nil
}
