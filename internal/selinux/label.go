package selinux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/unit"
)

// attribute is where a file keeps its context.
const attribute = "security.selinux"

// choose is the context of a label by the first of its types that the policy knows.
func choose(l unit.Label, knows func(context string) bool) (string, error) {
	for _, t := range l.Types {
		c := Context{User: "system_u", Role: "object_r", Type: t, Level: "s0"}.String()
		if knows(c) {
			return c, nil
		}
	}
	return "", fmt.Errorf("label %s: the machine's policy knows none of the types %s: install its policy for containers", l.Path, strings.Join(l.Types, ", "))
}

// nearest is the label that a path goes by: its own, or that of the nearest tree around it; nil if it has none.
func nearest(labels []unit.Label, path string) *unit.Label {
	for at := path; ; at = filepath.Dir(at) {
		i := slices.IndexFunc(labels, func(l unit.Label) bool { return l.Path == at })
		if i >= 0 && (at == path || labels[i].Tree) {
			return &labels[i]
		}
		if i >= 0 || at == "/" || at == "." {
			return nil
		}
	}
}

// Apply gives each path of labels its context, and returns what had another. What cannot be labelled does not keep the rest from it.
func Apply(labels []unit.Label) (changed []string, err error) {
	var errs []error
	for _, l := range labels {
		context, err := choose(l, known)
		if err == nil && l.Make {
			err = os.MkdirAll(l.Path, 0o755)
		}
		if err == nil {
			var more []string
			more, err = apply(labels, l, context)
			changed = append(changed, more...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return changed, errors.Join(errs...)
}

func apply(labels []unit.Label, l unit.Label, context string) (changed []string, err error) {
	// The bundle is a link to the one that runs.
	root, err := filepath.EvalSymlinks(l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it comes with whoever makes it
	}
	if err != nil {
		return nil, fmt.Errorf("label %s: %w", l.Path, err)
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone in between
		}
		if err != nil {
			return err
		}
		known := l.Path + strings.TrimPrefix(path, root)
		if own := nearest(labels, known); own == nil || own.Path != l.Path {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		set, err := label(path, context)
		if set {
			changed = append(changed, path)
		}
		return err
	})
	if err != nil {
		return changed, fmt.Errorf("label %s as %s: %w", l.Path, context, err)
	}
	return changed, nil
}

// label gives a file a context, unless it has it.
func label(path, context string) (bool, error) {
	have := make([]byte, 256)
	n, err := unix.Lgetxattr(path, attribute, have)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err == nil && string(bytes.TrimRight(have[:n], "\x00")) == context {
		return false, nil
	}
	err = unix.Lsetxattr(path, attribute, append([]byte(context), 0), 0)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// known asks the kernel whether its policy knows a context.
func known(context string) bool {
	f, err := os.OpenFile(filepath.Join(Filesystem, "context"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Write(append([]byte(context), 0))
	return err == nil
}
