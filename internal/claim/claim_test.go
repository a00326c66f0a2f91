package claim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

var (
	held   = Evidence{Attempt: "come in by the door", Want: Allowed, Got: Allowed, Answer: "welcome"}
	kept   = Evidence{Attempt: "come in by the window", Want: Refused, Got: Refused, Answer: "no"}
	broken = Evidence{Attempt: "come in by the roof", Want: Refused, Got: Allowed, Answer: "hello"}
	locked = Evidence{Attempt: "come in with the key", Want: Allowed, Got: Refused, Answer: "go away"}
)

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence []Evidence
		err      error
		verdict  Verdict
		reason   string
	}{
		{"all held", []Evidence{held, kept}, nil, Holds, ""},
		{"nothing tried", nil, nil, Untried, "no attempt was made"},
		{"it could not be tried", nil, errors.New("no route"), Untried, "no route"},
		{"the rest could not be tried", []Evidence{held, kept}, errors.New("no route"), Untried, "no route"},
		{"broken, and the rest could not be tried", []Evidence{broken}, errors.New("no route"), Untried, "no route"},
		{"an attack succeeded", []Evidence{held, broken, kept}, nil, Broken, "come in by the roof was allowed: hello"},
		{"its twin was refused", []Evidence{locked, kept}, nil, Broken, "come in with the key was refused: go away"},
		{"the first is named", []Evidence{held, locked, broken}, nil, Broken, "come in with the key was refused: go away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if verdict, reason := Decide(c.evidence, c.err); verdict != c.verdict || reason != c.reason {
				t.Errorf("got %s (%s), want %s (%s)", verdict, reason, c.verdict, c.reason)
			}
		})
	}
}

// TestDecideProperty: a claim is broken if and only if some attempt did not come out as it must, wherever it stands.
func TestDecideProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		evidence := rapid.SliceOfN(rapid.SampledFrom([]Evidence{held, kept, broken, locked}), 1, 50).Draw(t, "evidence")
		bad := slices.Contains(evidence, broken) || slices.Contains(evidence, locked)
		switch verdict, reason := Decide(evidence, nil); {
		case bad != (verdict == Broken), bad == (verdict == Holds), bad != (reason != ""):
			t.Fatalf("%s (%s)", verdict, reason)
		}
	})
}

func TestAttempt(t *testing.T) {
	if e := attempt("a", "b", "c", Refused, nil); e.Held() || e != (Evidence{Attempt: "a", From: "b", As: "c", Want: Refused, Got: Allowed, Answer: "succeeded"}) {
		t.Errorf("an attack that succeeded: %+v", e)
	}
	if e := attempt("a", "b", "c", Refused, errors.New("403")); !e.Held() || e != (Evidence{Attempt: "a", From: "b", As: "c", Want: Refused, Got: Refused, Answer: "403"}) {
		t.Errorf("an attack that failed: %+v", e)
	}
}

// TestVerify tries claims that are not of this world: results come in their order, whichever ends first, and each is told.
func TestVerify(t *testing.T) {
	second := make(chan struct{})
	claims := []Claim{
		{ID: "a", Holds: "waits for b", Probe: func(ctx context.Context, _ *Target) ([]Evidence, error) {
			select {
			case <-second:
				return []Evidence{held}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}},
		{ID: "b", Holds: "is broken", Probe: func(context.Context, *Target) ([]Evidence, error) {
			close(second)
			return []Evidence{broken}, nil
		}},
		{ID: "c", Holds: "cannot be tried", Probe: func(context.Context, *Target) ([]Evidence, error) { return nil, errors.New("no route") }},
	}
	told := make(chan Result, len(claims))
	results, err := Verify(t.Context(), &Target{}, claims, func(r Result) { told <- r })
	if err != nil || len(told) != len(claims) {
		t.Fatalf("%v, and told %d of %d", err, len(told), len(claims))
	}
	want := []Verdict{Holds, Broken, Untried}
	for i, r := range results {
		if r.ID != claims[i].ID || r.Claim != claims[i].Holds || r.Verdict != want[i] {
			t.Errorf("%d: got %+v, want %s of %s", i, r, want[i], claims[i].ID)
		}
	}
}

// TestTriedAgain: an error is tried again, a finding never, not even one that an error came after.
func TestTriedAgain(t *testing.T) {
	away := errors.New("no leader")
	for name, test := range map[string]struct {
		finds    []Evidence // the first time, with an error; later nothing is amiss
		err      error
		verdict  Verdict
		attempts int
	}{
		"an error":                {nil, away, Holds, 2},
		"an error after all held": {[]Evidence{held}, away, Holds, 2},
		"broken":                  {[]Evidence{broken}, nil, Broken, 1},
		"broken, then an error":   {[]Evidence{broken}, away, Untried, 1},
		"nothing was tried":       {nil, nil, Untried, 1},
	} {
		t.Run(name, func(t *testing.T) {
			first := true
			r := Claim{Probe: func(context.Context, *Target) ([]Evidence, error) {
				if first {
					first = false
					return test.finds, test.err
				}
				return []Evidence{held}, nil
			}}.try(t.Context(), &Target{})
			if r.Verdict != test.verdict || r.Attempts != test.attempts {
				t.Errorf("%s after %d attempts, want %s after %d", r.Verdict, r.Attempts, test.verdict, test.attempts)
			}
		})
	}
	if r := (Claim{Probe: func(context.Context, *Target) ([]Evidence, error) { return nil, away }}).try(t.Context(), &Target{}); r.Verdict != Untried || r.Attempts != maxAttempts {
		t.Errorf("always an error: %s after %d attempts", r.Verdict, r.Attempts)
	}
}

// machines of a cluster of which the names say the roles.
func machines(names ...string) unit.Desired {
	d := unit.Desired{Cluster: "demo", CAs: map[unit.CA]string{}}
	address := netip.MustParseAddr("10.90.0.10")
	for _, name := range names {
		role := v1alpha1.Role(name[:strings.LastIndex(name, "-")])
		d.Machines = append(d.Machines, unit.Machine{Name: name, Role: role, Address: address})
		address = address.Next()
	}
	return d
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// root is a CA that signs whatever it is given.
type root struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newRoot(t testing.TB, name string) root {
	t.Helper()
	r := root{key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: noon.AddDate(-1, 0, 0),
		NotAfter: noon.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	r.cert = template
	r.cert = r.sign(t, template, r.key)
	return r
}

func (r root) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, r.cert, key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a strings.Builder takes everything
	}
	return b.String()
}
