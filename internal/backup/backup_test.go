package backup

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

// content is longer than a chunk of age's encryption, and not the same twice.
func content(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{Etcd("k8s"): make([]byte, 200_000), Etcd("events"): {}, Vault: make([]byte, 70_000)}
	for _, b := range out {
		_, _ = rand.Read(b)
	}
	return out
}

func key(t *testing.T) *age.X25519Identity {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var manifest = Manifest{
	Format: Format, Cluster: "demo", ID: "0123456789abcdef", Identity: []byte(`{"name":"demo"}`), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	KubernetesVersion: "v1.37.2", UnsealKeys: "abc", Parts: []string{Etcd("k8s"), Etcd("events"), Vault},
}

func write(t *testing.T, parts map[string][]byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Create(&out, manifest, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range manifest.Parts {
		if err := w.Add(p, int64(len(parts[p])), bytes.NewReader(parts[p])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	parts, k := content(t), key(t)
	sealed := write(t, parts, k.Recipient())
	a, err := Open(bytes.NewReader(sealed), k)
	if err != nil {
		t.Fatal(err)
	}
	got := a.Manifest
	var compact bytes.Buffer
	if err := json.Compact(&compact, got.Identity); err != nil {
		t.Fatal(err)
	}
	got.Identity = compact.Bytes()
	if d := cmp.Diff(manifest, got); d != "" {
		t.Errorf("manifest (-written +read):\n%s", d)
	}
	for _, name := range []string{Vault, Etcd("k8s"), Etcd("events")} { // in any order
		err := a.Part(name, func(r io.Reader) error {
			b, err := io.ReadAll(r)
			if !bytes.Equal(b, parts[name]) {
				t.Errorf("%s: read %d bytes that are not those written", name, len(b))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if bytes.Contains(sealed, parts[Vault][:64]) || bytes.Contains(sealed, []byte("demo")) {
		t.Error("the file shows what is in it")
	}
	mine := errors.New("mine")
	if err := a.Part(Vault, func(io.Reader) error { return mine }); !errors.Is(err, mine) || errors.Is(err, ErrDamaged) {
		t.Errorf("an error of the reader comes back as %v", err)
	}
	if err := a.Part("other", func(io.Reader) error { return nil }); err == nil {
		t.Error("there is a part that was never written")
	}
}

// TestDamage cuts and alters a backup at many places: each is noticed before a part can be read.
func TestDamage(t *testing.T) {
	parts, k := content(t), key(t)
	good := write(t, parts, k.Recipient())
	for n := 0; n < len(good); n += 1 + len(good)/97 {
		if _, err := Open(bytes.NewReader(good[:n]), k); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoBackup) {
			t.Errorf("cut off after %d of %d bytes: %v", n, len(good), err)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if _, err := Open(bytes.NewReader(bad), k); err == nil {
			t.Errorf("byte %d of %d altered: not noticed", n, len(good))
		}
	}
	if _, err := Open(bytes.NewReader(append(bytes.Clone(good), 0)), k); !errors.Is(err, ErrDamaged) {
		t.Errorf("something added: %v", err)
	}
}

func TestForeign(t *testing.T) {
	parts, k := content(t), key(t)
	good := write(t, parts, k.Recipient())
	if _, err := Open(bytes.NewReader(good), key(t)); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(strings.NewReader("apiVersion: v1\n"), k); !errors.Is(err, ErrNoBackup) {
		t.Errorf("a text: %v", err)
	}
	var other bytes.Buffer
	w, err := age.Encrypt(&other, k.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 5000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bytes.NewReader(other.Bytes()), k); !errors.Is(err, ErrNoBackup) {
		t.Errorf("something else of ours: %v", err)
	}
}

// TestUnfinished: what its writer did not end is no backup, and a part that was shorter than announced ends the writing.
func TestUnfinished(t *testing.T) {
	k := key(t)
	var out bytes.Buffer
	w, err := Create(&out, manifest, k.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(Vault, 1, strings.NewReader("x")); err == nil {
		t.Error("a part out of its turn was taken")
	}
	if err := w.Add(Etcd("k8s"), 10, strings.NewReader("short")); err == nil {
		t.Error("a part that ends too early was taken")
	}
	if err := w.Close(); err == nil {
		t.Error("a backup without all its parts was closed")
	}
	if _, err := Open(bytes.NewReader(out.Bytes()), k); err == nil {
		t.Error("it can be read")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if made, err := EnsureIdentity(path, time.Now()); err != nil || !made {
		t.Fatalf("made %v: %v", made, err)
	}
	ids, err := Identities(path)
	if err != nil || len(ids) != 1 {
		t.Fatalf("%d keys: %v", len(ids), err)
	}
	if made, err := EnsureIdentity(path, time.Now()); err != nil || made {
		t.Errorf("made again %v: %v", made, err)
	}
	again, err := Identities(path)
	if err != nil || again[0].(*age.X25519Identity).String() != ids[0].(*age.X25519Identity).String() {
		t.Errorf("the key has changed: %v", err)
	}
	if r, err := OwnRecipient(ids[0]); err != nil || r.(*age.X25519Recipient).String() != ids[0].(*age.X25519Identity).Recipient().String() {
		t.Errorf("its recipient is %v: %v", r, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Identities(path); err == nil {
		t.Error("a key that others may read was taken")
	}
	if err := os.WriteFile(path, []byte("AGE-SECRET-KEY-1NOTONE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Identities(path); err == nil || strings.Contains(err.Error(), "NOTONE") {
		t.Errorf("a damaged key: %v", err)
	}
	if _, err := Recipients([]string{"age1nonsense"}); err == nil {
		t.Error("a recipient that is none was taken")
	}
}
