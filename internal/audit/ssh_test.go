package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestSSHEvents reads lines as Vault writes them, by the names that sshd's log has.
func TestSSHEvents(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC)
	cert := &ssh.Certificate{Key: signer.PublicKey(), Serial: 4214431764939291567, CertType: ssh.UserCert, KeyId: "demo-users-alice",
		ValidPrincipals: []string{"jump", "worker-0"}, ValidBefore: uint64(until.Unix())}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(string(ssh.MarshalAuthorizedKey(cert)))
	if err != nil {
		t.Fatal(err)
	}
	line := func(path, operation, response, failed string) string {
		return fmt.Sprintf(`{"time":"2026-01-01T00:00:00Z","type":"response","error":%q,"auth":{"metadata":{"username":"alice"},"policies":["demo-people"]},`+
			`"request":{"operation":%q,"path":%q,"remote_address":"10.90.0.1","data":{"valid_principals":"worker-0,jump"}},"response":{"data":{%s}}}`+"\n", failed, operation, path, response)
	}
	lines := line("demo/ssh/user/sign/group-on-call", "update", `"serial_number":"3a7cb1c64f9d72af","signed_key":`+string(text), "") +
		line("demo/ssh/user/sign/operator", "update", "", "permission denied") +
		line("demo/ssh/user/roles/operator", "read", "", "") + line("demo/ssh/user/config/ca", "delete", "", "") +
		line("other/ssh/user/sign/operator", "update", "", "")
	events := Events("demo", []byte(lines))
	if len(events) != 3 {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	if e := events[0]; e.Kind != SSH || e.Who != "alice" || !e.Person || e.CA != "ssh-user" || e.Serial != "4214431764939291567" || e.Name != "demo-users-alice" ||
		!slices.Equal(e.Names, cert.ValidPrincipals) || !e.NotAfter.Equal(until) || e.Refused != "" {
		t.Errorf("issued: %+v", e)
	}
	if e := events[1]; e.Kind != SSH || e.Refused != "permission denied" || !slices.Equal(e.Names, []string{"worker-0", "jump"}) {
		t.Errorf("refused: %+v", e)
	}
	if e := events[2]; e.Kind != CA {
		t.Errorf("the CA was removed: %+v", e)
	}
	if flagged := Account(events, Known{Now: until.Add(-time.Minute)}); slices.ContainsFunc(flagged, func(e Event) bool { return e.Flag != "" }) {
		t.Errorf("flagged: %+v", flagged)
	}
}
