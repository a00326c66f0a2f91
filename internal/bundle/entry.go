package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"time"
)

const entryName = "entry.json"

// entry is what a component built, in the store: its part of a manifest, and the files.
type entry struct {
	Files  []File
	Images []Image

	dir string
}

// entry returns what a component builds from its present inputs, built now or earlier.
func (b *builder) entry(ctx context.Context, c Component) (entry, error) {
	begin := time.Now()
	version, inputs, err := b.inputs(ctx, c)
	if err != nil {
		return entry{}, fmt.Errorf("component %s: %w", c.Name, err)
	}
	dir := filepath.Join(b.Cache, storeDir, c.Name+"-"+inputs[:16])
	e, err := b.load(ctx, dir)
	if err == nil {
		b.tell(Event{Component: c.Name, State: Cached, Took: time.Since(begin)})
		return e, nil
	}
	event := Event{Component: c.Name, State: Building}
	if !errors.Is(err, fs.ErrNotExist) {
		event.Why = err.Error()
	}
	b.tell(event)
	if e, err = b.produce(ctx, c, version, dir); err != nil {
		return entry{}, fmt.Errorf("component %s: %w", c.Name, err)
	}
	b.tell(Event{Component: c.Name, State: Built, Took: time.Since(begin)})
	return e, nil
}

// load returns an entry of the store, if it is whole.
func (b *builder) load(ctx context.Context, dir string) (entry, error) {
	e := entry{dir: dir}
	content, err := os.ReadFile(filepath.Join(dir, entryName))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(content, &e); err != nil {
		return e, fmt.Errorf("%s: %w", entryName, err)
	}
	return e, check(ctx, dir, e.Files, b.record, entryName)
}

// produce builds an entry beside the store and moves it there.
func (b *builder) produce(ctx context.Context, c Component, version, dir string) (entry, error) {
	tmp, err := os.MkdirTemp(filepath.Join(b.Cache, tmpDir), c.Name+"-")
	if err != nil {
		return entry{}, err
	}
	defer os.RemoveAll(tmp) // the next build sweeps
	built := filepath.Join(b.Cache, localDir)
	if !c.Local {
		built = filepath.Join(tmp, "out")
		if err := b.compile(ctx, c, version, built); err != nil {
			return entry{}, err
		}
	}
	next := filepath.Join(tmp, "entry")
	e, err := b.layOut(ctx, c, version, built, next)
	if err != nil {
		return entry{}, err
	}
	e.dir = dir
	return e, replace(next, dir, filepath.Join(b.Cache, tmpDir))
}

// layOut arranges what was built as it will be in a bundle.
func (b *builder) layOut(ctx context.Context, c Component, version, built, next string) (entry, error) {
	e := entry{dir: next}
	if err := os.Mkdir(next, 0o755); err != nil {
		return e, err
	}
	for _, o := range c.Outputs {
		for i, p := range o.Paths {
			from, place := filepath.Join(built, o.Built), copyFile
			if i > 0 {
				from, place = filepath.Join(next, o.Paths[0]), link
			}
			if err := place(from, filepath.Join(next, p)); err != nil {
				return e, fmt.Errorf("placing %s: %w", p, err)
			}
			e.Files = append(e.Files, File{Path: p, Mode: "0755"})
		}
	}
	if c.Image != nil {
		image, err := c.Image.write(built, next, version)
		if err != nil {
			return e, fmt.Errorf("making the image: %w", err)
		}
		e.Images = append(e.Images, image)
		e.Files = append(e.Files, File{Path: image.File, Mode: "0644"})
	}
	if err := b.describe(ctx, c, version, &e); err != nil {
		return e, err
	}
	content, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	return e, os.WriteFile(filepath.Join(next, entryName), content, 0o644)
}

// describe completes an entry's part of the manifest from its files.
func (b *builder) describe(ctx context.Context, c Component, version string, e *entry) error {
	var paths []string
	for _, f := range e.Files {
		paths = append(paths, filepath.Join(e.dir, f.Path))
	}
	digests, err := b.record.digests(ctx, paths)
	if err != nil {
		return err
	}
	for i, full := range paths {
		info, err := os.Lstat(full)
		if err != nil {
			return err
		}
		f := &e.Files[i]
		f.Name, f.Component, f.Version, f.Module = path.Base(f.Path), c.Name, version, c.Module
		f.Size, f.SHA256 = info.Size(), digests[full]
		for j := range e.Images {
			if e.Images[j].File == f.Path {
				e.Images[j].SHA256 = f.SHA256
			}
		}
	}
	return nil
}

// write makes the image of a binary in built as an archive below next.
func (r Recipe) write(built, next, version string) (Image, error) {
	tag := r.Tag
	if tag == "" {
		tag = version
	}
	i := Image{Name: r.Name, Reference: registry + r.Name + ":" + tag, File: "images/" + r.Name + ".tar", Lazily: r.Lazily}
	binary, err := os.ReadFile(filepath.Join(built, r.Binary))
	if err != nil {
		return i, err
	}
	image, err := r.image(binary, runtime.GOARCH)
	if err != nil {
		return i, err
	}
	digest, err := image.Digest()
	if err != nil {
		return i, err
	}
	i.Digest = digest.String()
	file := filepath.Join(next, i.File)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return i, err
	}
	return i, writeArchive(file, i.Reference, image)
}

// copyFile copies a program. It does not link it: the Go tool may write over what it built.
func copyFile(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(0o755) // whatever the umask is
}
