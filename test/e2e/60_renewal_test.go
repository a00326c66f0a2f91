package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

// certificateSerials are those of all certificates, by machine and file, as machines report them.
func certificateSerials(t *testing.T, from string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range status(t, from) {
		for _, c := range m.Status.Certificates {
			out[m.Name+" "+string(c.CA)+"/"+c.Name] = c.Serial
		}
	}
	return out
}

// TestLostCertificates: machines whose certificates are gone get others at once, and nobody who uses the API notices.
func TestLostCertificates(t *testing.T) {
	target := target(t)
	before, units := certificateSerials(t, file), unitsOf(t, "control-plane-0")
	stop := underLoad(t)
	for _, m := range target.Desired.Machines {
		ashlar(t, "exec", m.Name, "--", "find", unit.PKIDir, "-name", "*.crt", "!", "-name", "ca.crt", "-delete")
	}
	eventually(t, time.Minute, func() error { return allReplaced(before, certificateSerials(t, file)) })
	stop()
	if after := unitsOf(t, "control-plane-0"); !maps.Equal(units, after) {
		t.Errorf("units were restarted: %v, before %v", after, units)
	}
	// Whatever listens shows its new certificate by and by, without a restart.
	vaultOnly := find(t, "pki-vault-only")
	eventually(t, 2*time.Minute, func() error {
		if r := verify(t, vaultOnly); r.Verdict != claim.Holds {
			return errors.New(r.Reason)
		}
		return nil
	})
}

func allReplaced(before, after map[string]string) error {
	for name, serial := range before {
		if after[name] == serial || after[name] == "" {
			return fmt.Errorf("%s was not replaced", name)
		}
	}
	return nil
}

// TestRenewal watches certificates of the shortest life that is allowed be renewed twice, under load: no request
// fails, no unit restarts, nothing is used past its end.
func TestRenewal(t *testing.T) {
	if !slow {
		t.Skip("takes half an hour; ASHLAR_SLOW=1 runs it")
	}
	shared := file
	t.Cleanup(func() { file = shared })
	file = filepath.Join(t.TempDir(), "cluster.yaml")
	short := strings.Replace(clusterFile(name+"-renew"), "spec:", "spec:\n  pki: {leafTTL: 15m}", 1)
	if err := os.WriteFile(file, []byte(short), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "down") })
	ashlar(t, "up")
	units := map[string]map[string]int{}
	for _, m := range status(t, file) {
		units[m.Name] = unitsOf(t, m.Name)
	}
	stop := underLoad(t)
	shortLived, vaultOnly := find(t, "pki-short-lived"), find(t, "pki-vault-only")
	for generation := range 2 {
		before := certificateSerials(t, file)
		deadline := time.Now().Add(10 * time.Minute)
		for allReplaced(before, certificateSerials(t, file)) != nil && time.Now().Before(deadline) {
			if r := verify(t, shortLived); r.Verdict != claim.Holds {
				t.Errorf("generation %d: %s", generation, r.Reason)
			}
			time.Sleep(10 * time.Second) // between looks; what is waited for is the condition above
		}
		if err := allReplaced(before, certificateSerials(t, file)); err != nil {
			t.Fatalf("generation %d: %v", generation, err)
		}
		t.Logf("generation %d is over", generation)
	}
	stop()
	for machine, was := range units {
		if now := unitsOf(t, machine); !maps.Equal(was, now) {
			t.Errorf("%s: units were restarted: %v, before %v", machine, now, was)
		}
	}
	if r := verify(t, vaultOnly); r.Verdict != claim.Holds {
		t.Error(r.Reason)
	}
}
