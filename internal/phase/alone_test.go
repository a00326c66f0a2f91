package phase

import (
	"os"
	"testing"

	"ashlar.dev/ashlar/internal/unit"
)

// TestRemembered: who is shut out is remembered without Vault, and nothing is made up of a file that is damaged or not there.
func TestRemembered(t *testing.T) {
	c := &Cluster{Dir: t.TempDir()}
	if _, known := c.remembered(); known || c.wasRevoked("worker-0") {
		t.Error("something is remembered of nothing")
	}
	r := unit.Revoked{Machines: []unit.ShutOut{{Name: "worker-0"}}, Users: []unit.ShutOut{{Name: "ci"}}, Credentials: []unit.Revocation{{User: "ci"}}}
	if err := c.remember(r); err != nil {
		t.Fatal(err)
	}
	got, known := c.remembered()
	if _, out := got.User("ci"); !known || !out || !c.wasRevoked("worker-0") || c.wasRevoked("worker-1") {
		t.Errorf("remembered is %+v", got)
	}
	if err := os.WriteFile(c.revokedFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, known := c.remembered(); known || c.wasRevoked("worker-0") {
		t.Error("a damaged file is believed")
	}
}
