package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say what to build, and where.
type Options struct {
	Source     string      // the repository: the directory that holds components/ and cmd/
	Cache      string      // see CacheDir
	Components []Component // default: Components()
	Progress   func(Event) // called for each step; never twice at once
}

// Event is a step of a build.
type Event struct {
	Component string // empty: the whole bundle
	State     State
	Took      time.Duration // of Built and Cached
	Why       string        // of Building: what of the earlier result cannot be used
}

// State is how far a component is.
type State string

// The states of a component. Waiting is a build that waits for another one to finish.
const (
	Waiting  State = "waiting"
	Building State = "building"
	Built    State = "built"
	Cached   State = "cached"
)

// A cache holds:
//
//	components/<name>-<digest of inputs>/  what a component built, laid out as in a bundle, and entry.json
//	bundles/<digest>/                      bundles: hard links to the former
//	current                                link to the newest bundle
//	verified.json                          see record
//	local/                                 where the Go tool links Ashlar itself
//	tmp/                                   half-made things: whatever is there when a build begins was left by a dead one
//	lock                                   held by a build
const (
	storeDir   = "components"
	bundlesDir = "bundles"
	currentLnk = "current"
	recordFile = "verified.json"
	localDir   = "local"
	tmpDir     = "tmp"
	lockFile   = "lock"
)

type builder struct {
	Options
	record *record
	host   toolchain
	report sync.Mutex
}

// Build makes the bundle, or finds that it is there already, and points `current` at it. All that was finished is
// kept when it fails or is killed, and the next call goes on from there. Calls at the same time wait for one another.
func Build(ctx context.Context, o Options) (*Bundle, error) {
	if o.Components == nil {
		o.Components = Components()
	}
	for _, d := range []string{storeDir, bundlesDir, localDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(o.Cache, d), 0o755); err != nil {
			return nil, fmt.Errorf("making the bundle's cache (set ASHLAR_CACHE for another place): %w", err)
		}
	}
	b := &builder{Options: o}
	unlock, err := b.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for another build of a bundle to finish: %w", err)
	}
	defer unlock()
	begin := time.Now()
	result, cached, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	state := Built
	if cached {
		state = Cached
	}
	b.tell(Event{State: state, Took: time.Since(begin)})
	return result, nil
}

func (b *builder) build(ctx context.Context) (result *Bundle, cached bool, err error) {
	b.sweep()
	b.record = loadRecord(filepath.Join(b.Cache, recordFile))
	defer func() { _ = b.record.save() }() // it only saves time
	if b.host, err = readToolchain(ctx, b.Source); err != nil {
		return nil, false, err
	}
	entries, err := b.entries(ctx)
	if err != nil {
		return nil, false, err
	}
	m := Manifest{Arch: runtime.GOARCH}
	from := map[string]string{}
	for _, e := range entries {
		m.Files = append(m.Files, e.Files...)
		m.Images = append(m.Images, e.Images...)
		for _, f := range e.Files {
			from[f.Path] = filepath.Join(e.dir, f.Path)
		}
	}
	return b.assemble(ctx, m, from)
}

// entries builds the components two at a time: the Go tool uses all cores while it compiles, but only one while it links.
func (b *builder) entries(ctx context.Context) ([]entry, error) {
	entries := make([]entry, len(b.Components))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, c := range b.Components {
		group.Go(func() (err error) {
			entries[i], err = b.entry(ctx, c)
			return err
		})
	}
	return entries, group.Wait()
}

// assemble links the entries' files together, unless the same bundle is there and whole.
func (b *builder) assemble(ctx context.Context, m Manifest, from map[string]string) (result *Bundle, cached bool, err error) {
	content, digest, err := m.encode()
	if err != nil {
		return nil, false, err
	}
	dir := filepath.Join(b.Cache, bundlesDir, digest)
	result, err = b.open(ctx, dir)
	if err == nil {
		return result, true, b.point(digest)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		b.tell(Event{State: Building, Why: err.Error()})
	}
	next, err := os.MkdirTemp(filepath.Join(b.Cache, tmpDir), "bundle-")
	if err != nil {
		return nil, false, err
	}
	for path, source := range from {
		if err := link(source, filepath.Join(next, path)); err != nil {
			return nil, false, fmt.Errorf("putting %s into the bundle: %w", path, err)
		}
	}
	if err := os.WriteFile(filepath.Join(next, manifestName), content, 0o644); err != nil {
		return nil, false, err
	}
	if err := replace(next, dir, filepath.Join(b.Cache, tmpDir)); err != nil {
		return nil, false, fmt.Errorf("putting the bundle in its place: %w", err)
	}
	if result, err = b.open(ctx, dir); err != nil {
		return nil, false, err
	}
	return result, false, b.point(digest)
}

// open returns a bundle that is there and whole.
func (b *builder) open(ctx context.Context, dir string) (*Bundle, error) {
	found, err := Open(dir)
	if err != nil {
		return nil, err
	}
	return found, found.verify(ctx, b.record)
}

// point makes a bundle the current one.
func (b *builder) point(digest string) error {
	target := filepath.Join(bundlesDir, digest)
	current := filepath.Join(b.Cache, currentLnk)
	if old, err := os.Readlink(current); err == nil && old == target {
		return nil
	}
	tmp, err := os.MkdirTemp(filepath.Join(b.Cache, tmpDir), currentLnk+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // the next build sweeps
	next := filepath.Join(tmp, currentLnk)
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, current)
}

func (b *builder) tell(e Event) {
	if b.Progress == nil {
		return
	}
	b.report.Lock()
	defer b.report.Unlock()
	b.Progress(e)
}

// lock waits until no other build uses the cache. The kernel lets go of it when the process ends, however it ends.
func (b *builder) lock(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(filepath.Join(b.Cache, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	unlock := func() { f.Close() } // nothing was written
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return unlock, nil
	}
	b.tell(Event{State: Waiting})
	done := make(chan error, 1)
	go func() { done <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-done:
		return unlock, err
	case <-ctx.Done():
		// The call cannot be interrupted: whoever gets the lock then gives it back.
		go func() {
			<-done //nolint:errcheck // with or without the lock, the file is closed
			unlock()
		}()
		return nil, ctx.Err()
	}
}

// sweep removes what an interrupted build left. A compiler that outlived it for a moment may still get in the way;
// then the rest goes with the next build, as no name in tmp is used twice.
func (b *builder) sweep() {
	tmp := filepath.Join(b.Cache, tmpDir)
	left, _ := os.ReadDir(tmp)
	for _, e := range left {
		os.RemoveAll(filepath.Join(tmp, e.Name())) // see above
	}
}

// replace puts a finished directory into its place. What was there goes through tmp, so that it is never half there.
func replace(next, dir, tmp string) error {
	if err := os.Chmod(next, 0o755); err != nil {
		return err
	}
	err := os.Rename(next, dir)
	if err == nil || !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	old, err := os.MkdirTemp(tmp, "old-")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(old, "dir")); err != nil {
		return err
	}
	if err := os.Rename(next, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func link(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Link(from, to)
}
