package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/internal/unit"
)

// sshAuthority is an SSH CA.
func sshAuthority(t testing.TB) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// signHostKey makes a host key with a certificate in a directory, as the agent does.
func signHostKey(t testing.TB, dir string, ca ssh.Signer, machine string, from, to time.Time) string {
	t.Helper()
	public, private, err := newHostKey()
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: key, Serial: uint64(from.Unix()) << 32, CertType: ssh.HostCert, ValidPrincipals: []string{machine},
		ValidAfter: uint64(from.Unix()), ValidBefore: uint64(to.Unix())}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, private, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unit.SSHHostCert(path), ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHostKeyDue(t *testing.T) {
	ca, trusted := sshAuthority(t)
	_, other := sshAuthority(t)
	path := signHostKey(t, t.TempDir(), ca, "worker-0", epoch, epoch.Add(day))
	have, err := loadHostKey(path)
	if err != nil || have == nil {
		t.Fatal(have, err)
	}
	for _, test := range []struct {
		machine, trusted string
		after            time.Duration
		want             string
	}{
		{"worker-0", trusted, 0, ""},
		{"worker-0", trusted + other, time.Hour, ""},
		{"worker-0", other + trusted, time.Hour, "another CA signs"},
		{"worker-0", other, time.Hour, "another CA signs"},
		{"worker-1", trusted, time.Hour, "it is for worker-0"},
		{"worker-0", trusted, 12 * time.Hour, "half of its life is over"},
		{"worker-0", trusted, 24 * time.Hour, "it has expired"},
		{"worker-0", trusted, -time.Hour, "it is not valid yet"},
	} {
		if got := hostKeyDue(have, test.machine, test.trusted, epoch.Add(test.after)); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
	if got := hostKeyDue(nil, "worker-0", trusted, epoch); got == "" {
		t.Error("none is needed where there is none")
	}
}

// TestHostKeyOnDisk: what a crash or a hand leaves that does not fit together is none.
func TestHostKeyOnDisk(t *testing.T) {
	ca, _ := sshAuthority(t)
	path := signHostKey(t, t.TempDir(), ca, "worker-0", epoch, epoch.Add(day))
	another := signHostKey(t, t.TempDir(), ca, "worker-0", epoch, epoch.Add(day))
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	key, cert := read(path), read(unit.SSHHostCert(path))
	for what, broken := range map[string][2]string{
		"another's key":  {read(another), cert},
		"a damaged key":  {strings.Replace(key, "A", "B", 3), cert},
		"no certificate": {key, strings.Replace(cert, "-cert-v01@openssh.com", "", 1)},
		"an empty one":   {key, ""},
	} {
		for file, content := range map[string]string{path: broken[0], unit.SSHHostCert(path): broken[1]} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := loadHostKey(path); have != nil || err != nil {
			t.Errorf("%s: %v, %v", what, have, err)
		}
	}
	if have, err := loadHostKey(filepath.Join(t.TempDir(), "none")); have != nil || err != nil {
		t.Errorf("where there is none: %v, %v", have, err)
	}
}

// TestHostKeyRenewal: however often the agent looks, the key is renewed between two fifths and a half of its life.
func TestHostKeyRenewal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(900, 400*86400).Draw(t, "life")) * time.Second
		at := renewAt(epoch, epoch.Add(life), rapid.Uint64().Draw(t, "serial"))
		if at.Before(epoch.Add(life*2/5-time.Second)) || at.After(epoch.Add(life/2)) {
			t.Errorf("renewed %s after its beginning, of %s", at.Sub(epoch), life)
		}
	})
}
