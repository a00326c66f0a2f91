package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// issue makes a certificate of a serial, good for an hour from noon.
func issue(t *testing.T, serial int64, name string) (text string, digest string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(sum[:])
}

// line writes what Vault would, as far as it is read.
func line(t *testing.T, kind, operation, path, from string, auth, request, response map[string]any, problem string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"time": noon.Format(time.RFC3339Nano), "type": kind, "error": problem, "auth": auth,
		"request":  map[string]any{"operation": operation, "path": path, "remote_address": from, "data": request},
		"response": map[string]any{"data": response}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func role(name string, policies ...string) map[string]any {
	return map[string]any{"metadata": map[string]string{"role_name": name}, "policies": policies}
}

func TestEvents(t *testing.T) {
	cert, digest := issue(t, 0x0abc, "system:node:worker-0")
	var log strings.Builder
	log.WriteString("not JSON\n")
	worker := role("worker-0", "demo-worker")
	log.WriteString(line(t, "request", "update", "demo/pki/kubernetes/sign/kubelet", "10.90.0.14", worker, nil, nil, ""))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/sign/kubelet", "10.90.0.14", worker, map[string]any{"common_name": "system:node:worker-0"},
		map[string]any{"certificate": cert, "serial_number": "0a:bc"}, ""))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/sign/kubelet", "10.90.0.14", worker, nil, nil, "1 error occurred: permission denied\n\n"))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/revoke", "10.90.0.1", role("operator", "demo-operator"), map[string]any{"certificate": cert}, nil, ""))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/revoke", "10.90.0.1", role("operator", "demo-operator"), map[string]any{"certificate": "hmac-sha256:x", "serial_number": "0a:bd"}, nil, ""))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/roles/kubelet", "10.90.0.1", map[string]any{"policies": []string{"root"}}, nil, nil, ""))
	log.WriteString(line(t, "response", "update", "demo/pki/kubernetes/root/generate/internal", "10.90.0.1", map[string]any{"policies": []string{"root"}}, nil, map[string]any{"serial_number": "01"}, ""))
	log.WriteString(line(t, "response", "read", "demo/pki/kubernetes/cert/ca", "10.90.0.1", nil, nil, map[string]any{"certificate": cert}, ""))
	log.WriteString(line(t, "response", "update", "auth/demo/robots/login", "10.20.0.1", role("ci", "demo-people"), nil, nil, ""))
	log.WriteString(line(t, "response", "update", "auth/demo/users/login/alice", "10.90.0.1", map[string]any{"metadata": map[string]string{"username": "alice"}}, nil, nil, ""))
	log.WriteString(line(t, "response", "update", "auth/demo/users/login/bob", "10.90.0.1", nil, nil, nil, "invalid username or password"))
	log.WriteString(line(t, "response", "read", "identity/oidc/token/demo", "10.90.0.1", map[string]any{"metadata": map[string]string{"user": "carol"}}, nil, nil, ""))
	log.WriteString(line(t, "response", "read", "auth/demo/approle/role/worker-0", "10.90.0.1", role("operator"), nil, nil, ""))
	var got []string
	events := Events("demo", []byte(log.String()))
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s %s %t %s %s %t", e.Kind, e.Who, e.Person, e.Serial, e.From, e.Refused != ""))
	}
	want := []string{
		"issued worker-0 false 0a:bc 10.90.0.14 false",
		"issued worker-0 false  10.90.0.14 true",
		"revoked operator false 0a:bc 10.90.0.1 false",
		"revoked operator false 0a:bd 10.90.0.1 false",
		"ca root false 01 10.90.0.1 false",
		"login ci true  10.20.0.1 false",
		"login alice true  10.90.0.1 false",
		"login bob true  10.90.0.1 true",
		"identity provider:carol true  10.90.0.1 false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e := events[0]; e.CA != unit.CAKubernetes || e.Profile != "kubelet" || e.Name != "system:node:worker-0" || e.SHA256 != digest || e.Certificate != cert ||
		!slices.Equal(e.Names, []string{"system:node:worker-0"}) || !e.Alive(noon) || e.Alive(noon.Add(time.Hour)) {
		t.Errorf("the issuance is %+v", e)
	}
	if n := len((Filter{Serial: "0ABC"}).Select(events)); n != 2 {
		t.Errorf("%d events of a serial, want 2", n)
	}
	if n := len((Filter{User: "worker-0"}).Select(events)); n != 0 {
		t.Errorf("%d events of a user who is a machine", n)
	}
}

// TestAccount: who accounts for a certificate, and who does not.
func TestAccount(t *testing.T) {
	until := noon.Add(time.Hour)
	good := Event{Time: noon, Kind: Issued, Who: "worker-0", From: "10.90.0.14", CA: unit.CAKubernetes, Profile: "kubelet", Serial: "0a:bc", NotAfter: &until}
	k := Known{Machines: []unit.Machine{{Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.90.0.14")}},
		Held: map[string][]string{"worker-0": {"0a:bc"}}, Operator: "operator", OperatorAddress: "10.90.0.1", Now: noon.Add(10 * time.Minute)}
	for what, c := range map[string]struct {
		change func(*Event)
		more   []Event
		flag   string
	}{
		"a unit's":                      {change: func(*Event) {}},
		"one the agent does not know":   {change: func(e *Event) { e.Serial = "0b" }, flag: "agent does not know"},
		"one that was revoked since":    {change: func(e *Event) { e.Serial = "0b" }, more: []Event{{Kind: Revoked, CA: unit.CAKubernetes, Serial: "0b"}}},
		"revoked of another CA":         {change: func(e *Event) { e.Serial = "0b" }, more: []Event{{Kind: Revoked, CA: unit.CAEtcdOverlay, Serial: "0b"}}, flag: "agent"},
		"one nobody managed to revoke":  {change: func(e *Event) { e.Serial = "0b" }, more: []Event{{Kind: Revoked, CA: unit.CAKubernetes, Serial: "0b", Refused: "no"}}, flag: "agent"},
		"a recent one":                  {change: func(e *Event) { e.Serial, e.Time = "0b", k.Now.Add(-30*time.Second) }},
		"an expired one":                {change: func(e *Event) { e.Serial, e.NotAfter = "0b", &noon }},
		"one that was refused":          {change: func(e *Event) { e.Serial, e.Refused = "0b", "permission denied" }},
		"from elsewhere":                {change: func(e *Event) { e.From = "10.90.0.15" }, flag: "not its own"},
		"of another role":               {change: func(e *Event) { e.CA, e.Profile = unit.CAEtcdKubernetes, "kube-apiserver" }, flag: "role worker"},
		"a stranger's":                  {change: func(e *Event) { e.Who = "worker-9" }, flag: "nobody"},
		"a user's":                      {change: func(e *Event) { e.Person = true }, flag: "nobody"},
		"an administrator's":            {change: func(e *Event) { e.Who, e.From, e.Profile = "operator", "10.90.0.1", "admin" }},
		"an administrator's, elsewhere": {change: func(e *Event) { e.Who, e.From, e.Profile = "operator", "10.90.0.14", "admin" }, flag: "operator"},
		"the first binding's":           {change: func(e *Event) { e.Who, e.Profile = "root", "first-binding" }},
		"another of root's":             {change: func(e *Event) { e.Who = "root" }, flag: "root"},
		"a CA":                          {change: func(e *Event) { e.Kind, e.Who = CA, "root" }},
	} {
		e := good
		c.change(&e)
		got := Account(append([]Event{e}, c.more...), k)[0].Flag
		if (got != "") != (c.flag != "") || !strings.Contains(got, c.flag) {
			t.Errorf("%s: flagged %q, want %q", what, got, c.flag)
		}
	}
}

func TestSameSerial(t *testing.T) {
	const serial = "0a:bc:de:f0:11:22"
	for asked, want := range map[string]bool{serial: true, "ABCDEF01122": true, "0abcdef01122": true, "0a:bc:de:f0…": true, "0a…": false, "": false, "0a:bc:de:f0": false, "…": false} {
		if got := SameSerial(asked, serial); got != want {
			t.Errorf("%q: %t", asked, got)
		}
	}
	if SameSerial("", "") {
		t.Error("nothing is a serial")
	}
}

// A large log is mostly of no interest, and must not be parsed for that.
func BenchmarkEvents(b *testing.B) {
	request := strings.Repeat(`{"time":"2026-11-25T12:00:00Z","type":"request","auth":{},"request":{"path":"demo/pki/kubernetes/sign/kubelet","data":{"csr":"hmac-sha256:x"}}}`+"\n", 1000)
	b.SetBytes(int64(len(request)))
	for b.Loop() {
		if e := Events("demo", []byte(request)); len(e) > 0 {
			b.Fatal(e)
		}
	}
}

// What was issued wrapped is not in the log, but Vault keeps it: it is found by its moment, and flagged either way.
func TestReveal(t *testing.T) {
	hidden, _ := issue(t, 0x0b, "system:node:worker-0")
	named, _ := issue(t, 0x0c, "system:node:worker-0")
	another, _ := issue(t, 0x0d, "worker-0")
	sign := Event{Time: noon.Add(31 * time.Second), Kind: Issued, Who: "worker-0", From: "10.90.0.50", CA: unit.CAKubernetes, Profile: "kubelet", Name: "system:node:worker-0"}
	wrapped, plainly := sign, sign
	wrapped.Wrapped = true
	plainly.Certificate = named
	plainly.describe()
	known := Known{Machines: []unit.Machine{{Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.90.0.50")}},
		Held: map[string][]string{"worker-0": {plainly.Serial}}, Now: noon.Add(10 * time.Minute)}

	for _, c := range []struct {
		name  string
		later time.Duration
		kept  []string
		want  string // of the serial
	}{
		{"kept", 0, []string{named, another, hidden}, "0b"},
		{"of another moment", time.Minute, []string{named, hidden}, ""},
		{"not kept any more", 0, []string{named}, ""},
	} {
		events := []Event{plainly, wrapped}
		events[1].Time = events[1].Time.Add(c.later)
		if !Concealed(events)[unit.CAKubernetes] {
			t.Fatal("nothing is concealed")
		}
		Reveal(events, map[unit.CA][]string{unit.CAKubernetes: c.kept}, 30*time.Second)
		if events[1].Serial != c.want || events[0].Serial != plainly.Serial {
			t.Errorf("%s: found %q, want %q", c.name, events[1].Serial, c.want)
		}
		flagged := Account(events, known)
		if flagged[0].Flag != "" || flagged[1].Flag == "" {
			t.Errorf("%s: flags %q and %q", c.name, flagged[0].Flag, flagged[1].Flag)
		}
	}
}

// An answer that says no may have been asked for wrapped, and carries its reason hashed: nothing was issued.
func TestRefusedAndWrapped(t *testing.T) {
	text := `{"type":"response","time":"2026-11-25T12:00:00Z","auth":{"metadata":{"role_name":"worker-0"}},` +
		`"request":{"operation":"update","path":"demo/pki/kubernetes/sign/kubelet","data":{}},` +
		`"response":{"data":{"error":"hmac-sha256:00"},"wrap_info":{"ttl":300,"token":""}}}` + "\n"
	events := Events("demo", []byte(text))
	if len(events) != 1 || events[0].Refused == "" || events[0].Hidden() {
		t.Errorf("%+v", events)
	}
}
