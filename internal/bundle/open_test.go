package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOpenMissing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "nothing"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make bundle") {
		t.Errorf("error: %v", err)
	}
}

func TestOpenChangedManifest(t *testing.T) {
	b := whole(t)
	content, err := os.ReadFile(filepath.Join(b.Dir, manifestName))
	must(t, err)
	changed := strings.Replace(string(content), b.Manifest.Files[0].SHA256, sum(nil), 1)
	must(t, os.WriteFile(filepath.Join(b.Dir, manifestName), []byte(changed), 0o644))
	if _, err := Open(b.Dir); err == nil || !strings.Contains(err.Error(), "manifest.json has been changed") {
		t.Errorf("error: %v", err)
	}
}

func TestLocate(t *testing.T) {
	cache := t.TempDir()
	built := filepath.Join(cache, currentLnk)
	must(t, os.Symlink(t.TempDir(), built))
	for _, c := range []struct{ explicit, env, cache, want, message string }{
		{"/flag", "/env", cache, "/flag", ""},
		{"", "/env", cache, "/env", ""},
		{"", "", cache, built, ""},
		{"", "", t.TempDir(), "", "make bundle"},
	} {
		t.Setenv("ASHLAR_BUNDLE", c.env)
		t.Setenv("ASHLAR_CACHE", c.cache)
		got, err := Locate(c.explicit)
		if got != c.want || (err == nil) != (c.message == "") || err != nil && !strings.Contains(err.Error(), c.message) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestDecode(t *testing.T) {
	for content, want := range map[string]string{
		`{"files":[{"path":"bin/a"}],"images":[{"name":"a","file":"bin/a"}]}`: "",
		`{"files":[{"path":"../a"}]}`:                                         "no path inside",
		`{"files":[{"path":"/a"}]}`:                                           "no path inside",
		`{"files":[{"path":"bin//a"}]}`:                                       "no path inside",
		`{"files":[{"path":""}]}`:                                             "no path inside",
		`{"files":[{"path":"manifest.json"}]}`:                                "no path inside",
		`{"files":[{"path":"a"},{"path":"a"}]}`:                               "listed twice",
		`{"images":[{"name":"a","file":"images/a.tar"}]}`:                     "not listed",
		`{"surprise":1}`:                                                      "unknown field",
		`{`:                                                                   "unexpected EOF",
	} {
		_, err := decode([]byte(content))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
}

// The digest of a manifest depends on what it says, not on the order in which it was put together.
func TestCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfDistinct(rapid.StringMatching(`[a-z<&]{1,5}/[a-zé]{1,5}`), rapid.ID[string]).Draw(t, "paths")
		m := Manifest{Arch: "amd64"}
		for _, p := range paths {
			m.Files = append(m.Files, File{Path: p, Size: rapid.Int64Min(0).Draw(t, "size")})
		}
		shuffled := Manifest{Arch: m.Arch, Files: rapid.Permutation(m.Files).Draw(t, "shuffled")}
		content, digest, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, other, err := shuffled.encode(); err != nil || other != digest {
			t.Fatalf("%s and %s: %v", digest, other, err)
		}
		back, err := decode(content)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v became %+v: %v", m, back, err)
		}
	})
}
