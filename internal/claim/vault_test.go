package claim

import (
	"net/http"
	"testing"
)

func TestSudoEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		policy string
		want   Expectation
	}{
		"none":                 {`path "a" { capabilities = ["read"] }`, Refused},
		"empty":                {"", Refused},
		"granted":              {`path "sys/audit" { capabilities = ["read", "sudo"] }`, Allowed},
		"on a line of its own": {"path \"a\" {\n  capabilities = [\n    \"read\",\n    \"sudo\",\n  ]\n}", Allowed},
		"by the older word":    {"path \"a\" {\n  policy = \"sudo\"\n}", Allowed},
		"only in a comment":    {"# not even sudo\n  # sudo\npath \"a\" { capabilities = [\"read\"] }", Refused},
		"after a comment":      {"# no sudo here\npath \"a\" { capabilities = [\"sudo\"] }", Allowed},
		"before a comment":     {"path \"a\" { capabilities = [\"sudo\"] } # needed", Allowed},
		"as JSON":              {`{"path":{"a":{"capabilities":["sudo"]}}}`, Allowed},
	} {
		if e := sudoEvidence("machine", c.policy); e.Want != Refused || e.Got != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, e.Got, e.Answer, c.want)
		}
	}
}

// TestVaultVerdict asks for every status there can be: only a success is a yes, only Vault's own no is a no.
func TestVaultVerdict(t *testing.T) {
	for status := range 700 {
		want := map[int]Expectation{http.StatusForbidden: Refused, http.StatusBadRequest: Refused}[status]
		if status/100 == 2 {
			want = Allowed
		}
		e, err := vaultVerdict("read", "operator", "nobody", Refused, status)
		if (err != nil) != (want == "") || err == nil && (e.Got != want || e.Want != Refused) {
			t.Errorf("%d: got %q, %v; want %q", status, e.Got, err, want)
		}
	}
}
