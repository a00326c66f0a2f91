package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
)

// Archive is a backup that was read to its end and found whole.
type Archive struct {
	Manifest Manifest

	file       io.ReadSeeker
	identities []age.Identity
	sums       map[string]string
}

// What may be wrong with a backup; use errors.Is.
var (
	// ErrNoBackup: the file is something else.
	ErrNoBackup = errors.New("this is no backup of a cluster")
	// ErrWrongKey: none of the keys opens it.
	ErrWrongKey = errors.New("none of the given keys opens the backup: it was made for another")
	// ErrDamaged: it was cut off or altered.
	ErrDamaged = errors.New("the backup is damaged or incomplete")
)

// maxText limits the entries that are read into memory.
const maxText = 1 << 20

// Open reads the whole backup and checks every byte of it. The file must stay open for as long as its parts are read.
func Open(file io.ReadSeeker, identities ...age.Identity) (*Archive, error) {
	a := &Archive{file: file, identities: identities, sums: map[string]string{}}
	var listed string
	err := a.walk(func(i int, name string, r io.Reader) error {
		hash := sha256.New()
		switch {
		case (i == 0) != (name == manifestEntry):
			return fmt.Errorf("entry %d is %s", i, name)
		case i == 0:
			b, err := io.ReadAll(io.LimitReader(io.TeeReader(r, hash), maxText))
			if err != nil {
				return err
			}
			if err := json.Unmarshal(b, &a.Manifest); err != nil {
				return fmt.Errorf("its manifest: %w", err)
			}
		case name == sumsEntry:
			b, err := io.ReadAll(io.LimitReader(r, maxText))
			listed = string(b)
			return err
		default:
			if _, err := io.Copy(hash, r); err != nil {
				return err
			}
		}
		a.sums[name] = hex.EncodeToString(hash.Sum(nil))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, a.check(listed)
}

func (a *Archive) check(listed string) error {
	if a.Manifest.Format > Format {
		return fmt.Errorf("the backup is of format %d, this ashlar knows up to %d: use the one that made it", a.Manifest.Format, Format)
	}
	var sums strings.Builder
	for _, name := range append([]string{manifestEntry}, a.Manifest.Parts...) {
		fmt.Fprintf(&sums, "%s  %s\n", a.sums[name], name)
	}
	if sums.String() != listed || len(a.sums) != len(a.Manifest.Parts)+1 {
		return fmt.Errorf("%w: its parts are not those that it lists", ErrDamaged)
	}
	return nil
}

// Has says whether the backup holds a part.
func (a *Archive) Has(part string) bool { return slices.Contains(a.Manifest.Parts, part) }

// Part gives f the content of a part. When f has read it to its end, it was what Open saw.
func (a *Archive) Part(part string, f func(content io.Reader) error) error {
	err := a.walk(func(_ int, name string, r io.Reader) error {
		if name != part {
			return nil
		}
		hash := sha256.New()
		if err := f(io.TeeReader(r, hash)); err != nil {
			return callerError{err}
		}
		if _, err := io.Copy(hash, r); err != nil {
			return err
		}
		if hex.EncodeToString(hash.Sum(nil)) != a.sums[part] {
			return fmt.Errorf("%s has changed since it was checked", part)
		}
		return errFound
	})
	var theirs callerError
	switch {
	case errors.Is(err, errFound):
		return nil
	case errors.As(err, &theirs):
		return theirs.error
	case err == nil:
		return fmt.Errorf("the backup holds no %s", part)
	}
	return err
}

// errFound ends a walk.
var errFound = errors.New("found")

// callerError is no fault of the backup's.
type callerError struct{ error }

// walk visits all entries, from the start of the file to its very end, which is where age notices what was cut off.
func (a *Archive) walk(visit func(i int, name string, content io.Reader) error) error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	plain, err := age.Decrypt(a.file, a.identities...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return ErrWrongKey
	case err != nil:
		return fmt.Errorf("%w, or its head is damaged: %w", ErrNoBackup, err)
	}
	t := tar.NewReader(plain)
	for i := 0; ; i++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && i > 0 {
			break
		}
		if err == nil {
			err = visit(i, h.Name, t)
		}
		var theirs callerError
		switch {
		case errors.As(err, &theirs), errors.Is(err, errFound):
			return err
		case i == 0 && err != nil:
			return fmt.Errorf("%w: %w", ErrNoBackup, err)
		case err != nil:
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
