package claim

import (
	"bytes"
	"encoding/base64"
	"math/bits"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	podUID  = "7c7b4f1e-0000-4000-8000-000000000000"
	payload = `{"aud":["https://kubernetes"],"exp":1780318800,"iat":1780315200,` +
		`"kubernetes.io":{"namespace":"x","pod":{"name":"probe","uid":"` + podUID + `"}},"sub":"system:serviceaccount:x:probe"}`
)

func tokenOf(header, payload string, signature []byte) string {
	b64 := base64.RawURLEncoding
	return b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload)) + "." + b64.EncodeToString(signature)
}

func TestClaimsOf(t *testing.T) {
	c, err := claimsOf(tokenOf(`{"alg":"ES256"}`, payload, []byte("signature")))
	if err != nil {
		t.Fatal(err)
	}
	if c.Issued != 1780315200 || c.Expires != 1780318800 || strings.Join(c.Audience, " ") != "https://kubernetes" || c.Kubernetes.Pod.UID != podUID {
		t.Errorf("got %+v", c)
	}
	for name, token := range map[string]string{
		"nothing":          "",
		"a password":       "secret",
		"two parts":        "e30.e30",
		"four parts":       "e30.e30.e30.e30",
		"not base64":       "a.!.c",
		"not JSON":         tokenOf("{}", "exp", nil),
		"JSON of a number": tokenOf("{}", "1", nil),
	} {
		if c, err := claimsOf(token); err == nil {
			t.Errorf("%s: got %+v", name, c)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "payload")
		if c, err := claimsOf(tokenOf("{}", text, nil)); err == nil && !strings.Contains(text, "{") && text != "null" {
			t.Fatalf("%q is a token: %+v", text, c)
		}
	})
}

func TestTooLong(t *testing.T) {
	issued := noon.Unix()
	for _, c := range []struct {
		name            string
		issued, expires int64
		succeeded       bool
	}{
		{"an hour", issued, issued + 3600, false},
		{"ten minutes", issued, issued + 600, false},
		{"an hour, and the rounding of clocks", issued, issued + 3605, false},
		{"a little more", issued, issued + 3606, true},
		{"a day", issued, issued + 86400, true},
		{"an hour, from an hour ago", issued - 3600, issued, false},
		{"a day, of which most is over", issued - 86000, issued + 400, true},
		{"an hour, from an hour hence", issued + 3600, issued + 7200, true},
		{"for ever", issued, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := tooLong(tokenClaims{Issued: c.issued, Expires: c.expires}, noon); (err == nil) != c.succeeded {
				t.Errorf("got %v; the attack should have succeeded: %t", err, c.succeeded)
			}
		})
	}
}

func TestBoundTo(t *testing.T) {
	var bound tokenClaims
	bound.Kubernetes.Pod.UID = podUID
	for name, c := range map[string]struct {
		claims    tokenClaims
		uid       string
		succeeded bool
	}{
		"bound":              {bound, podUID, false},
		"bound to another":   {bound, "another", true},
		"not bound":          {tokenClaims{}, podUID, true},
		"a pod without name": {tokenClaims{}, "", true},
	} {
		if err := boundTo(c.claims, c.uid); (err == nil) != c.succeeded {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestForgedTokens: each forgery differs from the token in what it attacks, and in nothing else. One that differed in
// nothing would be let in, one that differed in more be refused for the wrong reason.
func TestForgedTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		signature := rapid.SliceOfN(rapid.Byte(), 64, 512).Draw(t, "signature")
		token := tokenOf(`{"alg":"ES256","kid":"a"}`, payload, signature)
		was := strings.Split(token, ".")

		now := strings.Split(tampered(token), ".")
		altered, err := base64.RawURLEncoding.DecodeString(now[2])
		if err != nil || now[0] != was[0] || now[1] != was[1] || len(altered) != len(signature) {
			t.Fatalf("tampered: %v, %v", now, err)
		}
		flipped := 0
		for i := range altered {
			flipped += bits.OnesCount8(altered[i] ^ signature[i])
		}
		if flipped != 1 {
			t.Fatalf("%d bits of the signature differ", flipped)
		}

		now = strings.Split(renamed(token), ".")
		body, err := base64.RawURLEncoding.DecodeString(now[1])
		if err != nil || now[0] != was[0] || now[2] != was[2] {
			t.Fatalf("renamed: %v, %v", now, err)
		}
		if want := strings.Replace(payload, "x:probe", "x:default", 1); want == payload || !bytes.Equal(body, []byte(want)) {
			t.Fatalf("renamed: %s", body)
		}

		now = strings.Split(unsigned(token), ".")
		header, err := base64.RawURLEncoding.DecodeString(now[0])
		if err != nil || !bytes.Contains(header, []byte(`"alg":"none"`)) || now[1] != was[1] || now[2] != "" {
			t.Fatalf("unsigned: %v, %v", now, err)
		}
	})
}

// TestTokenLimit: what the claim says is what is tried.
func TestTokenLimit(t *testing.T) {
	if tokenLimit < time.Hour || tokenLimit > time.Hour+time.Minute {
		t.Errorf("within the hour is not %s", tokenLimit)
	}
}
