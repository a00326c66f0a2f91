package claim

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// certOf is a certificate of a life that began at noon.
func certOf(t testing.TB, r root, life time.Duration, serial int64) *x509.Certificate {
	t.Helper()
	return r.sign(t, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "worker-0"},
		NotBefore: noon, NotAfter: noon.Add(life)}, newKey(t))
}

func TestParseLeaves(t *testing.T) {
	r := newRoot(t, "demo kubernetes")
	a, b := certOf(t, r, time.Hour, 2), certOf(t, r, time.Hour, 3)
	for _, c := range []struct {
		name, text string
		where      []string
		fails      string
	}{
		{"nothing", "", nil, ""},
		{"only what it listens on", "10.90.0.12:6443\n127.0.0.1:9099\n", nil, ""},
		{"one", "@ /a.crt\n" + pemOf(a), []string{"/a.crt"}, ""},
		{"two, after what it listens on", "10.90.0.12:6443\n@ /a.crt\n" + pemOf(a) + "@ /b.crt\n" + pemOf(b), []string{"/a.crt", "/b.crt"}, ""},
		{"one with its CA after it", "@ /a.crt\n" + pemOf(a, r.cert), []string{"/a.crt"}, ""},
		{"a path with a space", "@ /a b.crt\n" + pemOf(a), []string{"/a b.crt"}, ""},
		{"an empty file", "@ /a.crt\n" + pemOf(a) + "@ /b.crt\n", nil, "/b.crt on worker-0"},
		{"an empty file before a good one", "@ /b.crt\n@ /a.crt\n" + pemOf(a), nil, "/b.crt on worker-0"},
		{"half a certificate", "@ /a.crt\n" + pemOf(a)[:100], nil, "/a.crt on worker-0"},
		{"PEM of something else", "@ /a.crt\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", nil, "/a.crt on worker-0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaves, err := parseLeaves("worker-0", c.text)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %d leaves, %v; want an error about %s", len(leaves), err, c.fails)
				}
				return
			}
			var where []string
			for _, l := range leaves {
				where = append(where, l.where)
				if want := map[string]*x509.Certificate{"/b.crt": b}[l.where]; l.machine != "worker-0" || want == nil && !l.cert.Equal(a) || want != nil && !l.cert.Equal(want) {
					t.Errorf("%+v has another's certificate", l)
				}
			}
			if err != nil || !slices.Equal(where, c.where) {
				t.Errorf("got %q, %v; want %q", where, err, c.where)
			}
		})
	}
}

// FuzzParseLeaves: whatever a machine answers, there is a certificate for each "@ where", or an error.
func FuzzParseLeaves(f *testing.F) {
	good := pemOf(newRoot(f, "demo kubernetes").cert)
	for _, seed := range []string{"", "@ ", "@ a\n" + good, "x\n@ a\n" + good + "@ b\n" + good[:200], "@ a\n@ b\n" + good, "\n@ a\r\n" + good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		leaves, err := parseLeaves("worker-0", text)
		if err != nil {
			if leaves != nil {
				t.Errorf("%d leaves and %v", len(leaves), err)
			}
			return
		}
		if want := strings.Count("\n"+text, "\n@ "); len(leaves) != want {
			t.Errorf("%d leaves of %d", len(leaves), want)
		}
		for _, l := range leaves {
			if l.cert == nil || l.machine != "worker-0" || strings.Contains(l.where, "\n") {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestLifetimes(t *testing.T) {
	r := newRoot(t, "demo kubernetes")
	const limit = 24 * time.Hour
	for _, c := range []struct {
		name string
		life time.Duration
		age  time.Duration
		want Expectation
		says string
	}{
		{"new", limit, 0, Allowed, "lives for 24h0m0s"},
		{"backdated as by Vault", limit + 30*time.Second, time.Hour, Allowed, ""},
		{"backdated by all that is let pass", limit + backdating, time.Hour, Allowed, ""},
		{"a second too long", limit + backdating + time.Second, time.Hour, Refused, "the limit is 24h0m0s"},
		{"ten years", 87600 * time.Hour, time.Hour, Refused, "the limit is 24h0m0s"},
		{"before half of its life", limit, limit/2 - time.Second, Allowed, ""},
		{"a tenth after half of its life", limit, limit * 6 / 10, Allowed, ""},
		{"more than a tenth after half of its life", limit, limit*6/10 + time.Second, Refused, "was not renewed"},
		{"over", limit, limit + time.Second, Refused, "was not renewed"},
		{"short, and its half over", time.Hour, 40 * time.Minute, Refused, "was not renewed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			evidence := lifetimes([]leaf{{"worker-0", "/a.crt", certOf(t, r, c.life, 2)}}, limit, noon.Add(c.age))
			if len(evidence) != 1 {
				t.Fatalf("%d of 1 leaf", len(evidence))
			}
			if e := evidence[0]; e.Want != Allowed || e.Got != c.want || !strings.Contains(e.Answer, c.says) || e.From != "worker-0" || e.As != "worker-0" {
				t.Errorf("got %+v, want %s", e, c.want)
			}
		})
	}
}

// logLine is one of Vault's audit log.
func logLine(kind, path, failure string, response any) string {
	b, err := json.Marshal(map[string]any{"type": kind, "error": failure, "request": map[string]any{"path": path, "operation": "update"},
		"response": map[string]any{"data": map[string]any{"serial_number": response}}})
	if err != nil {
		panic(err) // plain data
	}
	return string(b) + "\n"
}

// TestSerials mixes lines of every kind: exactly the certificates that were signed are found.
func TestSerials(t *testing.T) {
	const sign = "demo/pki/kubernetes/sign/kubelet"
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]bool{}
		var log strings.Builder
		for range rapid.IntRange(0, 30).Draw(t, "lines") {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "serial"))
			if n.Sign() == 0 {
				continue // none has this number
			}
			var pairs []string
			for _, b := range n.Bytes() {
				pairs = append(pairs, hex.EncodeToString([]byte{b}))
			}
			colons := strings.Join(pairs, ":")
			var line string
			switch rapid.IntRange(0, 8).Draw(t, "kind") {
			case 0, 1:
				line = logLine("response", sign, "", colons)
				want[n.Text(16)] = true
			case 2:
				line = logLine("request", sign, "", colons)
			case 3:
				line = logLine("response", sign, "permission denied", colons)
			case 4:
				line = logLine("response", "demo/pki/kubernetes/revoke", "", colons)
			case 5:
				line = logLine("response", sign, "", "hmac-sha256:"+colons)
			case 6:
				line = logLine("response", "demo/other/sign/x", "", rapid.SampledFrom([]any{nil, 1, true, []string{colons}, map[string]any{"a": colons}}).Draw(t, "any"))
			case 7:
				whole := logLine("response", sign, "", colons)
				line = whole[:rapid.IntRange(0, len(whole)-2).Draw(t, "cut")] + "\n"
			default:
				line = rapid.StringMatching(`[^\n]*`).Draw(t, "noise") + "/sign/\n"
			}
			log.WriteString(line)
		}
		if got := serials(answers([]byte(log.String()))); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestOrigins(t *testing.T) {
	r := newRoot(t, "demo kubernetes")
	in := func(serials ...string) map[string]bool {
		out := map[string]bool{}
		for _, s := range serials {
			out[s] = true
		}
		return out
	}
	for _, c := range []struct {
		name string
		logs []map[string]bool
		want Expectation
		says string
	}{
		{"in both", []map[string]bool{in("abc", "1"), in("abc")}, Allowed, "in both logs"},
		{"in the first only", []map[string]bool{in("abc"), in("1")}, Refused, "serial abc is not in audit log 2"},
		{"in the second only", []map[string]bool{in(), in("abc")}, Refused, "serial abc is not in audit log 1"},
		{"in none", []map[string]bool{in(), in()}, Refused, "serial abc is not in"},
		{"as part of another", []map[string]bool{in("1abc", "abc1"), in("abc")}, Refused, "audit log 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			evidence := origins([]leaf{{"worker-0", "/a.crt", certOf(t, r, time.Hour, 0xabc)}}, c.logs)
			if len(evidence) != 1 || evidence[0].Want != Allowed || evidence[0].Got != c.want || !strings.Contains(evidence[0].Answer, c.says) {
				t.Errorf("got %+v, want %s (%s)", evidence, c.want, c.says)
			}
		})
	}
}

// TestKeyOwners gives machines certificates of a few keys: each key beyond the first use of it is found, in files; what
// a port shows is a file's.
func TestKeyOwners(t *testing.T) {
	r := newRoot(t, "demo kubernetes")
	var certs []*x509.Certificate
	for i := range int64(4) {
		certs = append(certs, certOf(t, r, time.Hour, i+2))
	}
	rapid.Check(t, func(t *rapid.T) {
		var leaves []leaf
		used := map[int]bool{}
		shared := 0
		for i := range rapid.IntRange(0, 8).Draw(t, "leaves") {
			key, port := rapid.IntRange(0, len(certs)-1).Draw(t, "key"), rapid.Bool().Draw(t, "port")
			where := fmt.Sprintf("/%d.crt", i)
			if port {
				where = "port 10.90.0.12:6443"
			} else if used[key] {
				shared++
			}
			used[key] = used[key] || !port
			leaves = append(leaves, leaf{fmt.Sprintf("worker-%d", i%2), where, certs[key]})
		}
		evidence := keyOwners(leaves)
		bad := 0
		for _, e := range evidence {
			if !e.Held() {
				bad++
			}
		}
		if bad != shared || len(evidence) != shared+1 {
			t.Fatalf("%d of %d shared keys were found: %+v", bad, shared, evidence)
		}
	})
}
