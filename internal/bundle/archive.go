package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// operatorsOnly are components that machines have no use for.
var operatorsOnly = []string{"opentofu"}

// Archive is what a machine fetches of a bundle: one compressed file, which it unpacks once it has found its digest right.
type Archive struct {
	File   string `json:"file"`
	Digest string `json:"digest"` // SHA-256 of the file, in hex
	Size   int64  `json:"size"`
	Bundle string `json:"bundle"` // the digest of the bundle that it was made of
}

// Key is its name in a bucket.
func (a Archive) Key() string { return "bundles/" + a.Digest + ".tar.gz" }

// archivesDir is where a cache keeps archives, by the digest of their bundle.
const archivesDir = "archives"

// Archive makes the bundle's archive, or finds the one that was made before.
func (b *Bundle) Archive(ctx context.Context) (Archive, error) {
	cache, err := CacheDir()
	if err != nil {
		return Archive{}, err
	}
	a := Archive{File: filepath.Join(cache, archivesDir, b.Digest+".tar.gz"), Bundle: b.Digest}
	if err := b.makeArchive(ctx, a.File); err != nil {
		return Archive{}, fmt.Errorf("making the archive of bundle %s: %w", b.Digest, err)
	}
	info, err := os.Stat(a.File)
	if err != nil {
		return Archive{}, err
	}
	a.Size = info.Size()
	record := loadRecord(filepath.Join(cache, recordFile))
	digests, err := record.digests(ctx, []string{a.File})
	if err != nil {
		return Archive{}, err
	}
	_ = record.save() // it only saves time
	a.Digest = digests[a.File]
	return a, nil
}

func (b *Bundle) makeArchive(ctx context.Context, file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	err = errors.Join(b.WriteArchive(ctx, f), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	earlier, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.tar.gz"))
	if err != nil {
		return err
	}
	for _, old := range earlier { // each is a third of a gigabyte, and quickly made again
		_ = os.Remove(old)
	}
	return os.Rename(f.Name(), file)
}

// WriteArchive writes what machines need of the bundle. The same bundle gives the same bytes, whoever owns its files and
// whenever they were made. Every file is compared with the manifest while it is read.
func (b *Bundle) WriteArchive(ctx context.Context, w io.Writer) error {
	m := b.Manifest.forMachines()
	content, _, err := m.encode()
	if err != nil {
		return err
	}
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	first := map[string]string{} // the path of the first file with some content and mode
	for _, f := range m.Files {
		header, err := header(f)
		if err != nil {
			return err
		}
		if before, ok := first[f.SHA256+f.Mode]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, before, 0
		} else {
			first[f.SHA256+f.Mode] = f.Path
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			if err := b.copyInto(ctx, archive, f); err != nil {
				return err
			}
		}
	}
	// Last: whoever sees it has all of the bundle.
	if err := archive.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, bytes.NewReader(content)); err != nil {
		return err
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func header(f File) (*tar.Header, error) {
	mode, err := strconv.ParseInt(f.Mode, 8, 32)
	if err != nil {
		return nil, fmt.Errorf("the mode of %s: %w", f.Path, err)
	}
	return &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: mode, Size: f.Size, Format: tar.FormatPAX}, nil
}

func (b *Bundle) copyInto(ctx context.Context, w io.Writer, f File) error {
	in, err := os.Open(filepath.Join(b.Dir, f.Path))
	if err != nil {
		return err
	}
	defer in.Close() // only read
	h := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(w, h), contextReader{ctx, in}, make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has been changed: its SHA-256 is %s, not %s: run `make bundle`", f.Path, got, f.SHA256)
	}
	return nil
}

// forMachines is the manifest of what a machine gets.
func (m Manifest) forMachines() Manifest {
	out := Manifest{Arch: m.Arch, Images: m.Images}
	for _, f := range m.Files {
		if !slices.Contains(operatorsOnly, f.Component) {
			out.Files = append(out.Files, f)
		}
	}
	return out
}
