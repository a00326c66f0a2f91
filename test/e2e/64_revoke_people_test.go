package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// fetched is a credential of ten minutes that somebody fetched from the file's cluster, and how it is used.
func fetched(t *testing.T, file, who string) func(context.Context) error {
	t.Helper()
	out, code := try("-f", file, "login", who, "--credential")
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(out), &credential); err != nil || code != 0 {
		t.Fatalf("fetch a credential of %s: exit %d\n%s", who, code, out)
	}
	target := target(t)
	api := fmt.Sprintf("https://%s:%d/api", target.Desired.WithRole("lb")[0].Address, unit.PortAPIServer)
	return func(ctx context.Context) error {
		return get(ctx, clientFrom(target, provider.FromOperator, unit.CAKubernetes, unit.APIServerName, nil, true), api, credential.Status.Token)
	}
}

// TestRevokeRobot revokes a robot: what it fetched, its session and its secrets are of no use, `up` leaves it shut out, and let in
// again it needs another secret.
func TestRevokeRobot(t *testing.T) {
	changed := declared(t, "  authentication: {robots: [{name: ci, cidrs: [10.90.0.1/32]}, {name: cd, cidrs: [10.90.0.1/32]}]}\n")
	run := func(args ...string) string {
		t.Helper()
		out, code := try(append([]string{"-f", changed}, args...)...)
		if code != 0 {
			t.Fatalf("%v: exit %d\n%s", args, code, out)
		}
		return out
	}
	login := func(robot, secret string) error {
		if out, code := tryWith(secret, "-f", changed, "login", robot, "--robot", "--secret-stdin"); code != 0 {
			return errorString(out)
		}
		return nil
	}
	secret, other := run("user", "robot-secret", "ci"), run("user", "robot-secret", "cd")
	for robot, s := range map[string]string{"ci": secret, "cd": other} {
		if err := login(robot, s); err != nil {
			t.Fatal(err)
		}
	}
	use := fetched(t, changed, "ci")
	thieves(t, []thief{{"a credential that was fetched before", use}}, func() {
		if out := run("pki", "revoke", "--user", "ci", "--reason", "its server was broken into"); !strings.Contains(out, "1 Vault tokens ended") {
			t.Errorf("revoke says\n%s", out)
		}
	})
	shutOut := func() {
		t.Helper()
		if login("ci", secret) == nil {
			t.Error("it logs in with its old secret")
		}
		if out, code := try("-f", changed, "login", "ci", "--credential"); code == 0 {
			t.Errorf("its session goes on:\n%s", out)
		}
	}
	shutOut()
	if out := run("plan"); !strings.Contains(out, "nothing to change") {
		t.Errorf("plan says\n%s", out)
	}
	run("up")
	shutOut()
	another := run("user", "robot-secret", "ci")
	if login("ci", another) == nil {
		t.Error("with another secret it is in again, without being let in")
	}
	if err := fetched(t, changed, "cd")(t.Context()); err != nil {
		t.Errorf("another robot: %v", err)
	}
	if out := run("pki", "audit", "--user", "ci"); !strings.Contains(out, "login") {
		t.Errorf("the audit says\n%s", out)
	}

	run("user", "enable", "ci")
	if login("ci", secret) == nil {
		t.Error("let in again, it logs in with a secret that was destroyed")
	}
	if err := login("ci", run("user", "robot-secret", "ci")); err != nil {
		t.Fatal(err)
	}
	if err := fetched(t, changed, "ci")(t.Context()); err != nil {
		t.Errorf("let in again: %v", err)
	}
	if out, code := try("-f", changed, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, out)
	}
}

// TestRevokeProvider revokes somebody of the company's identity provider: the session ends, and whatever they bring from there, the
// API refuses them, until they are let in again.
func TestRevokeProvider(t *testing.T) {
	signIn := newSignIn(t)
	ca, err := json.Marshal(signIn.ca)
	if err != nil {
		t.Fatal(err)
	}
	changed := declared(t, fmt.Sprintf(`  authentication:
    identityProvider: {issuer: %s, clientID: %s, certificateAuthority: %s, userClaim: preferred_username, groupsClaim: groups}
`, signIn.url, signInClient, ca))
	if out, code := tryWith(signIn.secret+"\n", "-f", changed, "user", "provider-secret", "--secret-stdin"); code != 0 {
		t.Fatalf("provider-secret: exit %d\n%s", code, out)
	}
	signIn.login(t, changed, "carol")
	signIn.login(t, changed, "dave")
	carol, dave := fetched(t, changed, "provider:carol"), fetched(t, changed, "provider:dave")
	thieves(t, []thief{{"a credential that was fetched before", carol}}, func() {
		out, code := try("-f", changed, "pki", "revoke", "--user", "provider:carol", "--reason", "left the company")
		if code != 0 || !strings.Contains(out, "1 Vault tokens ended") || !strings.Contains(out, "shut them out there, too") {
			t.Errorf("revoke: exit %d\n%s", code, out)
		}
	})
	if out, code := try("-f", changed, "login", "provider:carol", "--credential"); code == 0 {
		t.Errorf("the session goes on:\n%s", out)
	}
	signIn.login(t, changed, "carol") // the provider still knows her
	again := fetched(t, changed, "provider:carol")
	if err := again(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("who was revoked comes back from the provider: %v", err)
	}
	if err := dave(t.Context()); err != nil {
		t.Errorf("somebody else of the provider: %v", err)
	}
	if out, code := try("-f", changed, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, out)
	}
	if out, code := try("-f", changed, "user", "enable", "provider:carol"); code != 0 {
		t.Fatalf("enable: exit %d\n%s", code, out)
	}
	eventually(t, 10*time.Second, func() error { return again(t.Context()) })
}

// signIn is an identity provider at which people log in, reachable from Vault's machine and from a browser.
type signIn struct {
	*issuer
	secret  string
	browser http.Client

	mu    sync.Mutex
	sits  string                // who sits at the browser
	codes map[string]url.Values // what a code was asked for with
}

const signInClient = "vault-of-the-cluster"

func newSignIn(t *testing.T) *signIn {
	t.Helper()
	const machine = "vault-0"
	s := &signIn{issuer: newIssuer(t, machine), secret: rand.Text(), codes: map[string]url.Values{}}
	roots, at := x509.NewCertPool(), open(t).Provider
	roots.AppendCertsFromPEM([]byte(s.ca))
	s.browser.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if _, port, _ := net.SplitHostPort(address); strings.HasSuffix(s.url, ":"+port) {
				return at.Dial(ctx, machine, network, net.JoinHostPort("127.0.0.1", port))
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}
	s.mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		code, q := rand.Text(), r.URL.Query()
		s.codes[code] = q
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"state": {q.Get("state")}, "code": {code}}.Encode(), http.StatusFound)
	})
	s.mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		asked, ok := s.codes[r.PostFormValue("code")]
		delete(s.codes, r.PostFormValue("code"))
		id, secret, basic := r.BasicAuth()
		if !basic {
			id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		if !ok || id != signInClient || secret != s.secret {
			http.Error(w, `{"error": "invalid_grant"}`, http.StatusBadRequest)
			return
		}
		now := time.Now()
		answer(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 60, "id_token": s.token(t, map[string]any{
			"iss": s.url, "aud": id, "sub": "id-of-" + s.sits, "preferred_username": s.sits, "groups": []string{"developers"},
			"nonce": asked.Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})})
	})
	return s
}

// login has somebody log in with a browser.
func (s *signIn) login(t *testing.T, file, who string) {
	t.Helper()
	s.mu.Lock()
	s.sits = who
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-f", file, "login", "--provider")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if !strings.HasPrefix(lines.Text(), s.url) {
			continue
		}
		res, err := s.browser.Get(lines.Text())
		if err != nil {
			t.Error(err)
			continue
		}
		_ = res.Body.Close()
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(all.String(), "logged in as "+unit.ProviderPrefix+who) {
		t.Fatalf("login at the provider: %v\n%s", err, all.String())
	}
}
