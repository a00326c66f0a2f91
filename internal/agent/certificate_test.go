package agent

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRenewAt draws certificates whose lives begin anywhere within ten years: each is renewed between 40 % and 60 %
// of its life, whatever its serial number.
func TestRenewAt(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(2*time.Minute), int64(365*24*time.Hour)).Draw(t, "life"))
		begin := epoch.Add(time.Duration(rapid.Int64Range(0, int64(10*365*24*time.Hour)).Draw(t, "begin")))
		serial := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "serial"))
		c := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(life), SerialNumber: serial}
		share := float64(RenewAt(c).Sub(begin)) / float64(life)
		if share < 0.4-1e-9 || share > 0.6+1e-9 {
			t.Fatalf("renewed after %.3f of its life", share)
		}
	})
}
