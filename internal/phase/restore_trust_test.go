package phase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// rootMade is a CA's certificate, made at some hour.
func rootMade(t *testing.T, hour int) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC)
	ca := &x509.Certificate{SerialNumber: big.NewInt(int64(hour)), NotBefore: made, NotAfter: made.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestDropped: a CA was dropped if some machine trusts its successor alone.
func TestDropped(t *testing.T) {
	before, restored, next, last := rootMade(t, 1), rootMade(t, 2), rootMade(t, 3), rootMade(t, 4)
	for what, c := range map[string]struct {
		disks []string
		since int // the hour of the successor; 0: not dropped
	}{
		"no machine is left":               {nil, 0},
		"nothing was rotated":              {[]string{restored, restored}, 0},
		"a rotation had begun":             {[]string{restored, restored + next, next + restored}, 0},
		"it was dropped somewhere":         {[]string{restored + next, next}, 3},
		"it was dropped":                   {[]string{next, next}, 3},
		"and its successor, too":           {[]string{next, last}, 4},
		"a machine is left of before":      {[]string{restored, before}, 0},
		"a file is damaged, one is empty":  {[]string{"-----BEGIN", ""}, 0},
		"one is left of before, all moved": {[]string{before, next}, 3},
	} {
		since, dropped := droppedSince(restored, c.disks)
		if dropped != (c.since > 0) || dropped && since.Hour() != c.since {
			t.Errorf("%s: %v, since %s", what, dropped, since)
		}
	}
	if _, dropped := droppedSince("", []string{next}); dropped {
		t.Error("a CA that there is none of was dropped")
	}
}

// TestGoneWith: a certificate need not be revoked again if nobody trusts its CA any more.
func TestGoneWith(t *testing.T) {
	found := []Change{{What: "a", ToDo: "x", ca: unit.CAKubernetes, serial: "01"}, {What: "b", ToDo: "x", ca: unit.CAEtcdOverlay, serial: "02"}, {What: "c", ToDo: "x"}}
	goneWith(found, []Change{{ca: unit.CAKubernetes}})
	if found[0].ToDo != "" || found[0].serial != "" || found[1].serial != "02" || found[2].ToDo != "x" {
		t.Errorf("got %+v", found)
	}
}
