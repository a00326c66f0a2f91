package bundle

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// whole makes a bundle without building anything: what it holds is no concern of Verify.
func whole(t *testing.T) *Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), bundlesDir, "new")
	var m Manifest
	for path, content := range map[string]string{"bin/kubelet": "a kubelet", "bin/runc": "a runc", "cni/calico": "a plug-in", "images/pause.tar": "an image"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, File{Name: filepath.Base(path), Path: path, Mode: "0644", Size: int64(len(content)), SHA256: sum([]byte(content))})
	}
	content, digest, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifestName), content, 0o644); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(filepath.Dir(dir), digest)
	if err := os.Rename(dir, named); err != nil {
		t.Fatal(err)
	}
	b, err := Open(named)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tampering is a change to a bundle, and the files that must be named for it.
var tampering = []struct {
	name  string
	do    func(t *testing.T, dir string)
	named []string
}{
	{"nothing", func(*testing.T, string) {}, nil},
	{"content", func(t *testing.T, d string) {
		must(t, os.WriteFile(filepath.Join(d, "bin/kubelet"), []byte("a badelet"), 0o644))
	}, []string{"bin/kubelet has been changed: its SHA-256"}},
	{"content, with size and time kept", func(t *testing.T, d string) {
		p := filepath.Join(d, "bin/kubelet")
		before, err := os.Stat(p)
		must(t, err)
		must(t, os.WriteFile(p, []byte("a badelet"), 0o644))
		must(t, os.Chtimes(p, before.ModTime(), before.ModTime()))
	}, []string{"bin/kubelet has been changed: its SHA-256"}},
	{"truncated", func(t *testing.T, d string) { must(t, os.Truncate(filepath.Join(d, "cni/calico"), 0)) },
		[]string{"cni/calico has been changed: its SHA-256"}},
	{"replaced by another file of it", func(t *testing.T, d string) {
		must(t, os.Remove(filepath.Join(d, "bin/runc")))
		must(t, os.Link(filepath.Join(d, "bin/kubelet"), filepath.Join(d, "bin/runc")))
	}, []string{"bin/runc has been changed: its SHA-256"}},
	{"set-uid", func(t *testing.T, d string) {
		must(t, os.Chmod(filepath.Join(d, "bin/runc"), 0o644|os.ModeSetuid))
	}, []string{"bin/runc has been changed: its mode is 4644"}},
	{"missing", func(t *testing.T, d string) { must(t, os.Remove(filepath.Join(d, "bin/runc"))) },
		[]string{"bin/runc is missing"}},
	{"additional", func(t *testing.T, d string) {
		must(t, os.WriteFile(filepath.Join(d, "cni/evil"), nil, 0o755))
	}, []string{"cni/evil does not belong"}},
	{"link to the true file", func(t *testing.T, d string) {
		must(t, os.Rename(filepath.Join(d, "bin/runc"), filepath.Join(d, "../runc")))
		must(t, os.Symlink("../../runc", filepath.Join(d, "bin/runc")))
	}, []string{"bin/runc has been changed: it is no ordinary file"}},
	{"directory that is a link", func(t *testing.T, d string) {
		must(t, os.Rename(filepath.Join(d, "cni"), filepath.Join(d, "../cni")))
		must(t, os.Symlink("../cni", filepath.Join(d, "cni")))
	}, []string{"cni does not belong", "cni/calico is missing"}},
	{"several", func(t *testing.T, d string) {
		must(t, os.Remove(filepath.Join(d, "bin/runc")))
		must(t, os.WriteFile(filepath.Join(d, "evil"), nil, 0o755))
		must(t, os.Truncate(filepath.Join(d, "bin/kubelet"), 1))
	}, []string{"bin/kubelet has been changed", "bin/runc is missing", "evil does not belong"}},
}

func TestTampering(t *testing.T) {
	ways := map[string]func(*Bundle, context.Context) error{"Verify": (*Bundle).Verify, "VerifyQuick": (*Bundle).VerifyQuick}
	for way, verify := range ways {
		for _, c := range tampering {
			t.Run(way+"/"+c.name, func(t *testing.T) {
				b := whole(t)
				settle(t, b)
				c.do(t, b.Dir)
				err := verify(b, t.Context())
				if err == nil && len(c.named) == 0 {
					return
				}
				if err == nil || len(c.named) == 0 {
					t.Fatalf("error %v, want %q", err, c.named)
				}
				lines := strings.Split(err.Error(), "\n")[1:]
				if !slices.EqualFunc(lines, c.named, strings.HasPrefix) {
					t.Errorf("named are %q, want %q", lines, c.named)
				}
			})
		}
	}
}

// settle verifies until the record holds every file: what was only just written is not remembered.
func settle(t *testing.T, b *Bundle) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(loadRecord(b.record).known) < len(b.Manifest.Files) {
		must(t, b.VerifyQuick(t.Context()))
		if time.Now().After(deadline) {
			t.Fatal("the record never held all files")
		}
	}
}

func TestRecordIsUsed(t *testing.T) {
	b := whole(t)
	settle(t, b)
	r := loadRecord(b.record)
	for key, e := range r.known {
		e.SHA256 = "recorded"
		r.known[key] = e
	}
	r.dirty = true
	must(t, r.save())
	if err := b.VerifyQuick(t.Context()); err == nil || !strings.Contains(err.Error(), "SHA-256 is recorded") {
		t.Errorf("VerifyQuick reads what the record has already: %v", err)
	}
	if err := b.Verify(t.Context()); err != nil {
		t.Errorf("Verify believes the record: %v", err)
	}
}

func TestRecordOfOthers(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"writable by others": func(f string) error { return os.Chmod(f, 0o666) },
		"a link":             func(f string) error { return os.Rename(f, f+".real") },
		"no JSON":            func(f string) error { return os.WriteFile(f, []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := whole(t)
			settle(t, b)
			must(t, spoil(b.record))
			if name == "a link" {
				must(t, os.Symlink(b.record+".real", b.record))
			}
			if r := loadRecord(b.record); len(r.known) > 0 {
				t.Error("such a record was believed")
			}
			must(t, b.VerifyQuick(t.Context()))
		})
	}
}

func TestRepair(t *testing.T) {
	cache := t.TempDir()
	b, _ := build(t, cache)
	must(t, os.WriteFile(b.File("hello"), []byte("evil"), 0o755))
	must(t, os.WriteFile(filepath.Join(b.Dir, "bin", "evil"), nil, 0o755))
	if err := b.VerifyQuick(t.Context()); err == nil {
		t.Fatal("a tampered bundle was accepted")
	}
	var e events
	again, err := Build(t.Context(), options("testdata/source", cache, &e))
	must(t, err)
	must(t, again.Verify(t.Context()))
	if again.Digest != b.Digest {
		t.Errorf("repaired to %s, was %s", again.Digest, b.Digest)
	}
	var why string
	for _, event := range e {
		why += event.Why
	}
	if !strings.Contains(why, "bin/hello has been changed") || !strings.Contains(why, "bin/evil does not belong") {
		t.Errorf("the build did not say what it repaired: %q", why)
	}
}
