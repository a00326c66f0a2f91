package agent

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/unit"
)

// TestFirstHostKey is known by who signs it, which is itself, for a day, and until Vault signs.
func TestFirstHostKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	now := time.Now()
	d := unit.Desired{Self: "bastion-0", Region: "eu-west-1"}
	if none, err := hostAuthority(path); len(none) > 0 || err != nil {
		t.Errorf("before there is one: %q, %v", none, err)
	}
	if made, err := firstHostKey(path, d, now); !made || err != nil {
		t.Fatalf("%t, %v", made, err)
	}
	first, err := hostAuthority(path)
	if err != nil {
		t.Fatal(err)
	}
	authority, _, _, _, err := ssh.ParseAuthorizedKey(first)
	if err != nil {
		t.Fatal(err)
	}
	have, err := loadHostKey(path)
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool { return bytes.Equal(key.Marshal(), authority.Marshal()) }}
	if err := checker.CheckHostKey("bastion-0:22", nil, have); err != nil {
		t.Error(err)
	}
	if err := checker.CheckHostKey("bastion-1:22", nil, have); err == nil {
		t.Error("it is good for another machine")
	}
	if made, err := firstHostKey(path, d, now.Add(firstHostKeyTTL/2)); made || err != nil {
		t.Errorf("while it is good: %t, %v", made, err)
	}
	if made, err := firstHostKey(path, d, now.Add(firstHostKeyTTL)); !made || err != nil {
		t.Errorf("when it has expired: %t, %v", made, err)
	}
	if second, err := hostAuthority(path); bytes.Equal(first, second) || err != nil {
		t.Errorf("it is the same key: %v", err)
	}
	d.SSH = &unit.SSH{HostCA: "a key of Vault's"}
	if made, err := firstHostKey(path, d, now.Add(30*24*time.Hour)); made || err != nil {
		t.Errorf("once Vault signs: %t, %v", made, err)
	}
	if have, _ := loadHostKey(path); hostKeyDue(have, "bastion-0", d.SSH.HostCA, now) == "" {
		t.Error("Vault is not asked to sign another")
	}
}
