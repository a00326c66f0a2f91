package claim

import (
	"encoding/hex"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
)

// TestRollingEvidence: each remainder of a skipped step is found, and a finished rotation leaves none.
func TestRollingEvidence(t *testing.T) {
	old, now := newRoot(t, "demo kubernetes"), newRoot(t, "demo kubernetes")
	signers := map[unit.CA]string{unit.CAKubernetes: hex.EncodeToString(now.cert.SubjectKeyId)}
	leaves := func(r root) []leaf { return []leaf{{"worker-0", "/a.crt", certOf(t, r, time.Hour, 2)}} }
	if e := bySigner(leaves(now), signers); !e[0].Held() {
		t.Errorf("a certificate of the present key: %s", e[0].Answer)
	}
	if e := bySigner(leaves(old), signers); e[0].Held() {
		t.Error("a certificate of the predecessor, of the same name, goes unnoticed")
	}
	if e := oneIssuer(unit.CAKubernetes, []string{"a"}); !e.Held() {
		t.Error(e.Answer)
	}
	for _, ids := range [][]string{nil, {"a", "b"}} {
		if e := oneIssuer(unit.CAKubernetes, ids); e.Held() {
			t.Errorf("%d issuers go unnoticed", len(ids))
		}
	}
	if e := unfinished(rotation.Journal{}); !e.Held() {
		t.Error(e.Answer)
	}
	if e := unfinished(rotation.Journal{Current: &rotation.Rotation{Target: rotation.Kubernetes, Stage: rotation.Drop}}); e.Held() {
		t.Error("a rotation in the middle goes unnoticed")
	}
}

// TestSSHTrust: a key beside the CA's, or another than it, is found.
func TestSSHTrust(t *testing.T) {
	const ca, other = "ssh-ed25519 AAAA\n", "ssh-ed25519 BBBB\n"
	for trusted, want := range map[string]bool{ca: true, ca + other: false, other: false, "": false} {
		if e := sshTrust("worker-0", trusted, ca); e.Held() != want {
			t.Errorf("%q: %s", trusted, e.Answer)
		}
	}
	if e := sshTrust("worker-0", ca+other, ca+other); e.Held() {
		t.Error("two that are trusted everywhere go unnoticed")
	}
	if e := hostSigner("worker-0", []byte(ca), ca); e.Held() {
		t.Error("a host key without a certificate goes unnoticed")
	}
}
