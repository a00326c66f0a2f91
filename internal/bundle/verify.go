package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// check compares a directory with a list of its files and returns every difference, each by the name of the file.
// One more file, except, may be there beside them.
func check(ctx context.Context, dir string, files []File, r *record, except string) error {
	present, problems := list(dir, except)
	var paths []string
	for _, f := range files {
		mode, ok := present[f.Path]
		delete(present, f.Path)
		switch want := f.Mode; {
		case !ok:
			problems = append(problems, fmt.Errorf("%s is missing", f.Path))
		case !mode.IsRegular():
			problems = append(problems, fmt.Errorf("%s has been changed: it is no ordinary file", f.Path))
		case octal(mode) != want:
			problems = append(problems, fmt.Errorf("%s has been changed: its mode is %s, not %s", f.Path, octal(mode), want))
		default:
			paths = append(paths, filepath.Join(dir, f.Path))
		}
	}
	for p := range present {
		problems = append(problems, fmt.Errorf("%s does not belong to it", p))
	}
	digests, err := r.digests(ctx, paths)
	if err != nil {
		return err
	}
	for _, f := range files {
		if got, ok := digests[filepath.Join(dir, f.Path)]; ok && got != f.SHA256 {
			problems = append(problems, fmt.Errorf("%s has been changed: its SHA-256 is %s, not %s", f.Path, got, f.SHA256))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// list returns the mode of everything below a directory that is not a directory itself.
func list(dir, except string) (map[string]fs.FileMode, []error) {
	present := map[string]fs.FileMode{}
	var problems []error
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			problems = append(problems, err)
			return nil
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == except && d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		present[rel] = info.Mode()
		return nil
	})
	if err != nil {
		problems = append(problems, err)
	}
	return present, problems
}

// octal includes set-uid, set-gid and sticky: a bundle has none.
func octal(m os.FileMode) string {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return fmt.Sprintf("%04o", bits)
}
