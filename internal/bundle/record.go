package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// stamp changes whenever a file's content does: a write sets ctime, and unlike mtime no call can set it back.
type stamp struct {
	Device, Inode uint64
	Size          int64
	Modified      int64 // nanoseconds
	Changed       int64
}

type inode struct{ device, inode uint64 }

// record remembers the digests of files by their stamps, so that what has not changed need not be read again.
// It is kept outside of bundles, readable and writable by its owner alone.
type record struct {
	file  string
	mu    sync.Mutex
	known map[inode]recorded
	dirty bool
}

type recorded struct {
	Path   string // one of the file's names, to find out that it is gone
	Stamp  stamp
	SHA256 string
}

// granularity bounds how coarse the clock behind ctime is. A file that changed this shortly before it was read
// may change again under the same stamp, so its digest is not remembered.
const granularity = 20 * time.Millisecond

// loadRecord never fails: a record that is missing, unreadable or not the caller's own alone is an empty one.
func loadRecord(file string) *record {
	r := &record{file: file, known: map[inode]recorded{}}
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return r
	}
	var st unix.Stat_t
	if unix.Lstat(file, &st) != nil || int(st.Uid) != os.Geteuid() {
		return r
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return r
	}
	var list []recorded
	if json.Unmarshal(content, &list) != nil {
		return r
	}
	for _, e := range list {
		r.known[inode{e.Stamp.Device, e.Stamp.Inode}] = e
	}
	return r
}

// save drops files that are gone. The record only saves time, so that losing a race with another writer is harmless.
func (r *record) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirty {
		return nil
	}
	list := []recorded{}
	for e := range maps.Values(r.known) {
		if s, err := stampOf(e.Path); err == nil && s == e.Stamp {
			list = append(list, e)
		}
	}
	content, err := json.Marshal(list)
	if err != nil {
		return err
	}
	r.dirty = false
	return writeAtomically(r.file, content, 0o600)
}

// digests returns the SHA-256 of each file, reading each inode once, on all cores.
func (r *record) digests(ctx context.Context, paths []string) (map[string]string, error) {
	at := map[string]inode{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	begun := map[inode]bool{}
	for _, p := range paths {
		s, err := stampOf(p)
		if err != nil {
			return nil, err
		}
		key := inode{s.Device, s.Inode}
		at[p] = key
		if begun[key] {
			continue
		}
		begun[key] = true
		group.Go(func() error { return r.learn(ctx, p, s) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	result := map[string]string{}
	for p, key := range at {
		result[p] = r.known[key].SHA256
	}
	return result, nil
}

func (r *record) learn(ctx context.Context, path string, s stamp) error {
	key := inode{s.Device, s.Inode}
	r.mu.Lock()
	e, ok := r.known[key]
	r.mu.Unlock()
	if ok && e.Stamp == s {
		return nil
	}
	begin := time.Now()
	digest, err := hashFile(ctx, path)
	if err != nil {
		return err
	}
	if begin.Sub(time.Unix(0, s.Changed)) < granularity {
		s = stamp{Device: s.Device, Inode: s.Inode} // equal to no file's
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[key] = recorded{Path: path, Stamp: s, SHA256: digest}
	r.dirty = true
	return nil
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{
		Device: uint64(st.Dev), //nolint:unconvert // int32 on some architectures
		Inode:  st.Ino, Size: st.Size,
		Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(),
	}, nil
}

func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.CopyBuffer(h, contextReader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader ends a long read when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func writeAtomically(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	if _, err := f.Write(content); err != nil {
		f.Close() // the write's error says more
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), mode); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
