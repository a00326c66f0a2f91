package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What tar unpacks of an archive is a bundle that verifies; files of one content are one file again.
func TestArchiveUnpacks(t *testing.T) {
	t.Setenv("ASHLAR_CACHE", t.TempDir())
	b := withTwins(t)
	a, err := b.Archive(t.Context())
	must(t, err)
	content, err := os.ReadFile(a.File)
	must(t, err)
	if a.Digest != sum(content) || a.Size != int64(len(content)) || a.Key() != "bundles/"+a.Digest+".tar.gz" || a.Bundle != b.Digest {
		t.Errorf("%+v of %d bytes with digest %s", a, len(content), sum(content))
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "--extract", "--gzip", "--file", a.File, "--directory", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unpacked, err := Open(dir)
	must(t, err)
	must(t, unpacked.Verify(t.Context()))
	if unpacked.File("tofu") != "" || b.File("tofu") == "" {
		t.Error("machines have the operator's tofu")
	}
	kubelet, err := os.Stat(unpacked.File("kubelet"))
	must(t, err)
	proxy, err := os.Stat(unpacked.File("kube-proxy"))
	must(t, err)
	if !os.SameFile(kubelet, proxy) {
		t.Error("what is one file in the bundle takes twice its room")
	}
}

// Neither times nor owners get into the archive, and it is made once.
func TestArchiveIsReproducible(t *testing.T) {
	t.Setenv("ASHLAR_CACHE", t.TempDir())
	b := withTwins(t)
	a, err := b.Archive(t.Context())
	must(t, err)
	made, err := os.Stat(a.File)
	must(t, err)
	again, err := b.Archive(t.Context())
	must(t, err)
	if after, err := os.Stat(a.File); err != nil || !os.SameFile(made, after) || again != a {
		t.Errorf("it was made again: %+v, then %+v: %v", a, again, err)
	}
	must(t, os.Chtimes(b.File("runc"), time.Unix(1, 0), time.Unix(1, 0)))
	must(t, os.Remove(a.File))
	if again, err = b.Archive(t.Context()); err != nil || again != a {
		t.Errorf("%+v, then %+v: %v", a, again, err)
	}
}

// The manifest comes last: who finds it has unpacked all.
func TestArchiveOrder(t *testing.T) {
	b := withTwins(t)
	var buffer bytes.Buffer
	must(t, b.WriteArchive(t.Context(), &buffer))
	content, err := gzip.NewReader(&buffer)
	must(t, err)
	var last string
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		last = h.Name
	}
	if last != manifestName {
		t.Errorf("%s comes last", last)
	}
}

func TestArchiveOfChangedBundle(t *testing.T) {
	b := withTwins(t)
	must(t, os.WriteFile(b.File("runc"), []byte("a cnur"), 0o644))
	if err := b.WriteArchive(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "bin/runc has been changed") {
		t.Errorf("error: %v", err)
	}
}

// withTwins is a bundle with one file of two names, and one that is for operators.
func withTwins(t *testing.T) *Bundle {
	t.Helper()
	b := whole(t)
	m := b.Manifest
	must(t, os.Link(b.File("kubelet"), filepath.Join(b.Dir, "bin/kube-proxy")))
	must(t, os.WriteFile(filepath.Join(b.Dir, "bin/tofu"), []byte("a tofu"), 0o644))
	for _, f := range []File{{Name: "kube-proxy", SHA256: sum([]byte("a kubelet")), Size: 9}, {Name: "tofu", Component: "opentofu", SHA256: sum([]byte("a tofu")), Size: 6}} {
		f.Path, f.Mode = "bin/"+f.Name, "0644"
		m.Files = append(m.Files, f)
	}
	content, digest, err := m.encode()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.Dir, manifestName), content, 0o644))
	dir := filepath.Join(filepath.Dir(b.Dir), digest)
	must(t, os.Rename(b.Dir, dir))
	twins, err := Open(dir)
	must(t, err)
	return twins
}
