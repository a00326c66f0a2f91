package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestAuthenticate(t *testing.T) {
	tokens := Tokens([]v1alpha1.StaticToken{
		{Name: "ci", User: "ci", Groups: []string{"deployers"}, SHA256: Hash("secret"), Expires: metav1.NewTime(noon.Add(time.Hour)), Reason: "an old server"},
		{Name: "old", User: "old", SHA256: Hash("stale"), Expires: metav1.NewTime(noon), Reason: "forgotten"},
	}, []BreakGlass{{SHA256: Hash("glass"), Expires: noon.Add(time.Minute), Reason: "Vault is gone"}})
	for token, want := range map[string]string{"secret": "ci", "glass": unit.UserBreakGlass, "stale": "", "": "", "Secret": "", Hash("secret"): ""} {
		got := authenticate(token, tokens, noon)
		if got.Authenticated != (want != "") || got.User.Username != want {
			t.Errorf("%q: %+v, want user %q", token, got, want)
		}
	}
	if s := authenticate("glass", tokens, noon); s.User.Groups[0] != unit.GroupAdmins || s.User.Extra[extraReason][0] != "Vault is gone" {
		t.Errorf("break-glass: %+v", s.User)
	}
	if s := authenticate("stale", tokens, noon); s.Error == "" {
		t.Error("it is not said that the token expired")
	}
}

// What the webhook decides from the lines of one namespace is what the whole policy file says.
func TestAuthorizeIsTheWholeFile(t *testing.T) {
	namespaces := []string{"default", "kube-system", "monitoring", "shop", "team"}
	accounts := authz.Accounts{}
	for _, ns := range namespaces {
		accounts[ns] = nil
	}
	m := authz.Model(v1alpha1.SeedClasses())
	text, err := m.ABAC(accounts)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := authz.ReadABAC(text, "abac")
	if err != nil {
		t.Fatal(err)
	}
	s := new(state)
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.SampledFrom(namespaces)
		home := of.Draw(t, "home")
		q := authorizationv1.SubjectAccessReviewSpec{User: authz.ServiceAccountUser(home, "app"),
			Groups: []string{"system:serviceaccounts", authz.ServiceAccountGroup(home), "system:authenticated"}}
		if rapid.Bool().Draw(t, "path") {
			q.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: rapid.SampledFrom([]string{"get", "post"}).Draw(t, "verb"),
				Path: rapid.SampledFrom([]string{"/api", "/api/v1", "/metrics", "/apis/apps", "/logs/", "/openid/v1/jwks"}).Draw(t, "path")}
		} else {
			q.ResourceAttributes = &authorizationv1.ResourceAttributes{
				Verb:  rapid.SampledFrom([]string{"get", "list", "watch", "create", "delete", "impersonate"}).Draw(t, "verb"),
				Group: rapid.SampledFrom([]string{"", "apps", "authorization.k8s.io"}).Draw(t, "group"), Resource: rapid.SampledFrom([]string{"pods", "secrets", "nodes", "selfsubjectaccessreviews"}).Draw(t, "resource"),
				Subresource: rapid.SampledFrom([]string{"", "exec", "log"}).Draw(t, "sub"), Name: rapid.SampledFrom([]string{"", "a"}).Draw(t, "name"),
				Namespace: rapid.OneOf(of, rapid.Just("")).Draw(t, "namespace")}
		}
		want, _ := authz.Allowed(whole, request(q))
		for _, last := range []bool{true, false} {
			got, err := s.authorize(access{ServiceAccounts: m}, q, last)
			if err != nil || got.Allowed != want || got.Denied != (last && !want) {
				t.Fatalf("%v: %+v, %v; the file says %t", request(q), got, err, want)
			}
		}
	})
	if got, err := s.authorize(access{ServiceAccounts: m}, authorizationv1.SubjectAccessReviewSpec{User: "alice", Groups: []string{"system:authenticated"}}, true); err != nil || got.Allowed || got.Denied {
		t.Errorf("somebody who is no ServiceAccount: %+v, %v", got, err)
	}
}

// authority makes certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	testserver.Write(a.t, filepath.Join(a.dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	testserver.Write(a.t, filepath.Join(a.dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// Only API servers are answered; what is declared is read again when it changes; a certificate that was renewed is used.
func TestServe(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	client := func(name, group string) {
		a.issue(name, &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{group}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	client("api", unit.GroupAPIServers)
	client("node", "system:nodes")
	file := func(name string) string { return filepath.Join(a.dir, name) }
	declare := func(tokens ...v1alpha1.StaticToken) {
		b, err := json.Marshal(access{ServiceAccounts: v1alpha1.SeedClasses(), StaticTokens: tokens})
		if err != nil {
			t.Fatal(err)
		}
		testserver.Write(t, file("access.json"), string(b))
	}
	declare()
	listen := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, Options{Listen: listen, AccessFile: file("access.json"), BreakGlassFile: file("glass.json"), RevokedFile: file("revoked.json"), CertFile: file("server.crt"), KeyFile: file("server.key"),
			ClientCAFile: file("ca.crt"), ClientGroup: unit.GroupAPIServers, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }})
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopped: %v", err)
		}
	}()
	ask := func(who, path string, review any) (int, []byte, error) {
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		if who != "" {
			pair, err := tls.LoadX509KeyPair(file(who+".crt"), file(who+".key"))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		body, err := json.Marshal(review)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := c.Post("https://"+listen+path, "application/json", bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, b, err
	}
	token := func(token string) bool {
		t.Helper()
		code, b, err := ask("api", "/authenticate", authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}})
		var r authenticationv1.TokenReview
		if err != nil || code != http.StatusOK || json.Unmarshal(b, &r) != nil {
			t.Fatalf("%d %s %v", code, b, err)
		}
		return r.Status.Authenticated
	}
	testserver.Eventually(t, "webhook", func() bool { _, _, err := ask("api", "/", nil); return err == nil })

	if code, _, err := ask("", "/authenticate", authenticationv1.TokenReview{}); err == nil {
		t.Errorf("one without a certificate: %d", code)
	}
	if code, _, err := ask("node", "/authenticate", authenticationv1.TokenReview{}); err != nil || code != http.StatusForbidden {
		t.Errorf("a node: %d %v", code, err)
	}
	if code, b, err := ask("api", "/authenticate", "text"); err != nil || code != http.StatusBadRequest {
		t.Errorf("not a review: %d %s %v", code, b, err)
	}
	if token("secret") {
		t.Error("a token that is not declared")
	}
	declare(v1alpha1.StaticToken{Name: "ci", User: "ci", SHA256: Hash("secret"), Expires: metav1.NewTime(noon.Add(time.Hour))})
	if !token("secret") {
		t.Error("a token that was declared")
	}
	testserver.Write(t, file("glass.json"), fmt.Sprintf(`[{"sha256":%q,"expires":%q}]`, Hash("glass"), noon.Add(time.Minute).Format(time.RFC3339)))
	if !token("glass") {
		t.Error("break-glass")
	}
	if err := os.Remove(file("glass.json")); err != nil {
		t.Fatal(err)
	}
	if token("glass") {
		t.Error("break-glass after it was taken away")
	}
	a.issue("server", &x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if !token("secret") {
		t.Error("after the certificate was renewed")
	}
	denied := func() bool {
		t.Helper()
		code, b, err := ask("api", "/authorize/revoked", authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "mallory"}})
		var r authorizationv1.SubjectAccessReview
		if err != nil || code != http.StatusOK || json.Unmarshal(b, &r) != nil || r.Status.Allowed {
			t.Fatalf("%d %s %v", code, b, err)
		}
		return r.Status.Denied
	}
	if denied() {
		t.Error("nothing is revoked, and somebody is denied")
	}
	testserver.Write(t, file("revoked.json"), fmt.Sprintf(`[{"user":"mallory","at":%[1]q,"until":%[2]q}]`, noon.Format(time.RFC3339), noon.Add(time.Minute).Format(time.RFC3339)))
	if !denied() {
		t.Error("somebody who was revoked is not denied")
	}
	testserver.Write(t, file("access.json"), "{")
	if code, _, err := ask("api", "/authorize/abac", authorizationv1.SubjectAccessReview{}); err != nil || code != http.StatusInternalServerError {
		t.Errorf("with a broken file: %d %v", code, err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	s, m := new(state), access{ServiceAccounts: v1alpha1.SeedClasses()}
	q := authorizationv1.SubjectAccessReviewSpec{User: authz.ServiceAccountUser("shop", "app"),
		Groups:             []string{"system:serviceaccounts", authz.ServiceAccountGroup("shop"), "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: "shop", Name: "a"}}
	for b.Loop() {
		if r, err := s.authorize(m, q, true); err != nil || !r.Allowed {
			b.Fatal(r, err)
		}
	}
}
