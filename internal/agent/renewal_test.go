package agent

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ashlar.dev/ashlar/internal/unit"
)

const (
	day    = 24 * time.Hour
	decade = 3653 * day
	// ttl and backdated are how Vault signs: by default, and always.
	ttl       = day
	backdated = 30 * time.Second
	// look is the longest that an agent rests.
	look = interval + interval/5
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// authority is a CA that signs whatever it is given.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB, begin, end time.Time) authority {
	t.Helper()
	key, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return authority{key: key}.named(t, "demo kubernetes", begin, end)
}

// named is the same CA, by the same key, in another certificate.
func (a authority) named(t testing.TB, name string, begin, end time.Time) authority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(begin.Unix()), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(nil, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pemOf("CERTIFICATE", string(der))
	return a
}

// sign makes a key and a certificate for it.
func (a authority) sign(t testing.TB, template *x509.Certificate) (cert, key string) {
	t.Helper()
	k, keyPEM, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(nil, template, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", string(der)), string(keyPEM)
}

func pemOf(kind, content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
}

var wantedLeaf = unit.Certificate{
	Profile: unit.Profile{Name: "kubelet", CA: unit.CAKubernetes, CommonName: "system:node:worker-0", Organizations: []string{"system:nodes", "a"},
		DNSNames: []string{"worker-0", "localhost"}},
	IPs: []string{"10.96.0.1"},
}

// leafTemplate is wantedLeaf as Vault issues it at a moment, with the least jitter.
func leafTemplate(issued time.Time) *x509.Certificate {
	p := wantedLeaf.Profile
	return &x509.Certificate{
		SerialNumber: serial(0), Subject: pkix.Name{CommonName: p.CommonName, Organization: p.Organizations},
		DNSNames: p.DNSNames, IPAddresses: []net.IP{net.ParseIP(wantedLeaf.IPs[0])},
		NotBefore: issued.Add(-backdated), NotAfter: issued.Add(ttl),
	}
}

// serial is one of Vault's length, with the bits that jitter is made of.
func serial(jitter uint64) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(0x7fff), 18*8)
	return n.Or(n, new(big.Int).SetUint64(jitter))
}

func TestDue(t *testing.T) {
	root, stranger := newAuthority(t, epoch, epoch.Add(decade)), newAuthority(t, epoch, epoch.Add(decade))
	const life = ttl + backdated
	issued := epoch.Add(365 * day)
	begin := issued.Add(-backdated)
	type given struct {
		leaf      *x509.Certificate
		issuer    authority
		trusted   string
		want      unit.Certificate
		now       time.Time
		cert, key string // instead of what issuer signs
		signs     string // the key that signs now
	}
	for _, c := range []struct {
		name   string
		change func(*given)
		want   string
	}{
		{"new", func(*given) {}, ""},
		{"missing", func(g *given) { g.cert, g.key = " ", " " }, "there is none that can be used"},
		{"unparsable", func(g *given) { g.cert = pemOf("CERTIFICATE", "x") }, "there is none that can be used"},
		{"the key does not match", func(g *given) { _, g.key = root.sign(t, g.leaf) }, "there is none that can be used"},

		{"for another", func(g *given) { g.leaf.Subject.CommonName = "system:node:worker-1" }, "it is for system:node:worker-1"},
		{"another group", func(g *given) { g.leaf.Subject.Organization = []string{"system:masters", "a"} }, "its organizations differ"},
		{"a group too many", func(g *given) { g.leaf.Subject.Organization = []string{"a", "b", "system:nodes"} }, "its organizations differ"},
		{"groups in another order", func(g *given) { g.leaf.Subject.Organization = []string{"a", "system:nodes"} }, ""},
		{"groups wanted in another order", func(g *given) { g.want.Profile.Organizations = []string{"a", "system:nodes"} }, ""},
		{"a name is new", func(g *given) { g.want.Profile.DNSNames = []string{"worker-0", "worker-0.demo"} }, "it lacks the name worker-0.demo"},
		{"a name has gone", func(g *given) { g.want.Profile.DNSNames = []string{"worker-0"} }, ""},
		{"an address is new", func(g *given) { g.want.IPs = []string{"10.97.0.1"} }, "it lacks the address 10.97.0.1"},

		{"another CA of the same name", func(g *given) { g.issuer = stranger }, "its CA is not trusted any more"},
		{"its CA is one of two", func(g *given) { g.trusted = stranger.pem + root.pem }, ""},
		{"its CA has been replaced", func(g *given) { g.trusted = stranger.pem }, "its CA is not trusted any more"},
		{"no CA is known", func(g *given) { g.trusted = "" }, "its CA is not trusted any more"},
		{"its CA ends first", func(g *given) { g.trusted = root.named(t, "demo kubernetes", epoch, issued.Add(ttl-time.Second)).pem }, "it outlives its CA"},
		{"its CA ends first, and lives on in another certificate", func(g *given) {
			g.trusted = root.named(t, "demo kubernetes", epoch, issued.Add(ttl-time.Second)).pem + root.pem
		}, ""},
		{"its CA ends with it", func(g *given) { g.trusted = root.named(t, "demo kubernetes", epoch, issued.Add(ttl)).pem }, ""},

		{"just before half of its life, least jitter", func(g *given) { g.now = begin.Add(life/2 - time.Second) }, ""},
		{"half of its life, least jitter", func(g *given) { g.now = begin.Add(life / 2) }, "half of its life is over"},
		{"just before two fifths, most jitter", func(g *given) {
			g.leaf.SerialNumber, g.now = serial(math.MaxUint64), begin.Add(life*4/10-time.Second)
		}, ""},
		{"its CA signs", func(g *given) { g.signs = hex.EncodeToString(root.cert.SubjectKeyId) }, ""},
		{"a successor signs", func(g *given) { g.signs = "0f" }, "its CA has a successor"},
		{"two fifths, most jitter", func(g *given) {
			g.leaf.SerialNumber, g.now = serial(math.MaxUint64), begin.Add(life*4/10+time.Second)
		}, "half of its life is over"},
		{"two fifths, least jitter", func(g *given) { g.now = begin.Add(life*4/10 + time.Second) }, ""},
		{"its last second", func(g *given) { g.now = issued.Add(ttl - time.Second) }, "half of its life is over"},
		{"over", func(g *given) { g.now = issued.Add(ttl) }, "it has expired"},
		{"long over", func(g *given) { g.now = issued.Add(10 * decade) }, "it has expired"},
		{"the clock is a little behind", func(g *given) { g.now = begin.Add(-time.Minute) }, ""},
		{"the clock is behind", func(g *given) { g.now = begin.Add(-time.Minute - time.Second) }, "it is not valid yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := given{leaf: leafTemplate(issued), issuer: root, trusted: root.pem, want: wantedLeaf, now: issued}
			c.change(&g)
			cert, key := g.issuer.sign(t, g.leaf)
			if g.cert != "" {
				cert = g.cert
			}
			if g.key != "" {
				key = g.key
			}
			if got := due(usable([]byte(cert), []byte(key)), g.want, g.trusted, g.signs, g.now); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// bare is a certificate of which only the times matter.
func bare(c *x509.Certificate, issued time.Time, ttl time.Duration, serial []byte) *x509.Certificate {
	c.NotBefore, c.NotAfter = issued.Add(-backdated), issued.Add(ttl)
	if c.SerialNumber == nil {
		c.SerialNumber = new(big.Int)
	}
	c.SerialNumber.SetBytes(serial)
	return c
}

// byTime is what the clock alone says.
func byTime(c *x509.Certificate, now time.Time) string {
	r := renewal{have: c, now: now}
	for _, p := range []policy{expired, early, aged} {
		if reason := p(r); reason != "" {
			return reason
		}
	}
	return ""
}

// TestRenewAt draws certificates of every life that a Cluster may declare: each is renewed between two fifths and half
// of its life, whatever its serial number; not at once; and once it is due it stays so.
func TestRenewAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(int64(time.Minute), int64(365*day)).Draw(t, "ttl"))
		issued := epoch.Add(time.Duration(rapid.Int64Range(0, int64(decade)).Draw(t, "issued")))
		c := bare(new(x509.Certificate), issued, ttl, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "serial"))
		at := RenewAt(c)
		if share := at.Sub(c.NotBefore).Seconds() / (ttl + backdated).Seconds(); share < 0.4-1e-6 || share > 0.5 {
			t.Fatalf("renewed after %.3f of its life", share)
		}
		if reason := byTime(c, issued); reason != "" {
			t.Fatalf("renewed at once: %s", reason)
		}
		if reason := byTime(c, at.Add(-1)); reason != "" {
			t.Fatalf("renewed before its time: %s", reason)
		}
		later := at.Add(time.Duration(rapid.Int64Range(0, int64(10*365*day)).Draw(t, "later")))
		if byTime(c, later) == "" {
			t.Fatalf("not due any more at %s", later)
		}
	})
}

// renewed is one renewal of a simulation.
type renewed struct {
	at    time.Time
	share float64 // of the certificate's life that was over
	why   string
	late  bool // Vault was away when it was due
}

// spells is how long Vault is there, then away, then there, and so on, from epoch on and for ever over again.
type spells []struct{ there, away time.Duration }

// back says when Vault is there again, if it is away.
func (s spells) back(now time.Time) (time.Time, bool) {
	var round time.Duration
	for _, x := range s {
		round += x.there + x.away
	}
	if round == 0 {
		return now, false
	}
	for left := now.Sub(epoch) % round; ; s = s[1:] {
		if left -= s[0].there; left < 0 {
			return now, false
		}
		if left -= s[0].away; left < 0 {
			return now.Add(-left), true
		}
	}
}

// live is ten years of one certificate after another, the first issued at epoch: the agent looks when it is due, or a
// rest later; if Vault is away, as soon as it is back, or a rest later.
func live(rng *rand.Rand, away spells, each func(renewed)) {
	c := new(x509.Certificate)
	number := make([]byte, 20)
	for now := epoch; ; {
		for i := range number {
			number[i] = byte(rng.Uint32())
		}
		number[0] &= 0x7f // as Vault
		bare(c, now, ttl, number)
		r := renewed{at: RenewAt(c).Add(time.Duration(rng.Int64N(int64(look))))}
		if back, ok := away.back(r.at); ok {
			r.at, r.late = back.Add(time.Duration(rng.Int64N(int64(retryLast)))), true
		}
		if now = r.at; now.After(epoch.Add(decade)) {
			return
		}
		r.share, r.why = r.at.Sub(c.NotBefore).Seconds()/c.NotAfter.Sub(c.NotBefore).Seconds(), byTime(c, r.at)
		each(r)
	}
}

// TestTenYears lets a fleet whose certificates were all issued at the same moment live for ten years. They drift
// apart at once and stay apart, and are renewed as often as they should be, not more.
func TestTenYears(t *testing.T) {
	const fleet, bucket = 50, 10 * time.Minute
	rng := rand.New(rand.NewPCG(1, 2))
	herd := make([]int, decade/bucket+1)
	total, least, most := 0, 1.0, 0.0
	for range fleet {
		live(rng, nil, func(r renewed) {
			if r.why != "half of its life is over" {
				t.Fatalf("at %s: %q", r.at, r.why)
			}
			total++
			least, most = min(least, r.share), max(most, r.share)
			herd[r.at.Sub(epoch)/bucket]++
		})
	}
	if least < 0.4 || least > 0.401 || most < 0.499 || most > 0.5+look.Seconds()/ttl.Seconds() {
		t.Errorf("renewed between %.4f and %.4f of their lives, want all that is between 0.4 and 0.5", least, most)
	}
	// On average after 45 % of a life that began before it was issued, and half a rest.
	each := (ttl+backdated)*45/100 - backdated + look/2
	if want := fleet * float64(decade) / float64(each); math.Abs(float64(total)/want-1) > 0.002 {
		t.Errorf("%d renewals, want about %.0f", total, want)
	}
	if first := slices.Max(herd[:day/bucket]); first > fleet/4 {
		t.Errorf("on the first day %d of %d certificates were renewed within %s", first, fleet, bucket)
	}
	if later := slices.Max(herd[365*day/bucket:]); later > fleet/5 {
		t.Errorf("after the first year %d of %d certificates were renewed within %s", later, fleet, bucket)
	}
}

// TestVaultAway takes Vault away again and again for ten years, each time for less than what is left of a certificate's
// life when it becomes due: none ever expires, and whatever becomes due while Vault is there is renewed in time.
func TestVaultAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		away := make(spells, rapid.IntRange(1, 20).Draw(t, "spells"))
		for i := range away {
			away[i].there = time.Duration(rapid.Int64Range(int64(time.Minute), int64(30*day)).Draw(t, "there"))
			away[i].away = time.Duration(rapid.Int64Range(int64(time.Second), int64(ttl/2-2*look)).Draw(t, "away"))
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		live(rng, away, func(r renewed) {
			switch {
			case r.why != "half of its life is over":
				t.Fatalf("at %s: %q", r.at, r.why)
			case !r.late && r.share > 0.5+look.Seconds()/ttl.Seconds():
				t.Fatalf("at %s, with Vault there: only after %.3f of its life", r.at, r.share)
			}
		})
	})
}
