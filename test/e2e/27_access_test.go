package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/authz"
)

// declared has the shared cluster be as its file with something more in the spec, and at the test's end as it was.
func declared(t *testing.T, spec string) (changed string) {
	t.Helper()
	changed = filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(changed, []byte(clusterFile(name)+spec), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "up") })
	if out, code := try("-f", changed, "up"); code != 0 {
		t.Fatalf("up with\n%s: exit %d\n%s", spec, code, out)
	}
	return changed
}

// asAccount is how a ServiceAccount asks the API; the account and its namespace come to be if they are not there.
func asAccount(t *testing.T, namespace, account string) *kubernetes.Clientset {
	t.Helper()
	admin := target(t).Admin
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	hour := int64(3600)
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken, config.QPS = token.Status.Token, -1
	as, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return as
}

// space makes a namespace with a ServiceAccount named app.
func space(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "delete", "namespace", name, "--wait=false") })
	kubectl(t, "create", "namespace", name)
	kubectl(t, "create", "serviceaccount", "app", "--namespace="+name)
}

// TestModes changes who decides about ServiceAccounts while they work: no request fails, and each mode decides as
// declared, also about a namespace that is new.
func TestModes(t *testing.T) {
	space(t, "shop")
	app := asAccount(t, "shop", "app")
	secrets := func(c kubernetes.Interface, ns string) error {
		_, err := c.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
		return err
	}
	pods := func(c kubernetes.Interface, ns string) error {
		_, err := c.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		return err
	}
	eventually(t, 10*time.Second, func() error { return pods(app, "shop") })

	admin, err := kubernetes.NewForConfig(target(t).Admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var requests atomic.Int64
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() { // what every mode allows
		defer close(done)
		for ctx.Err() == nil {
			_, err1 := app.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{})
			_, err2 := admin.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			for _, err := range []error{err1, err2} {
				if err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
				requests.Add(1)
			}
		}
	}()
	for _, c := range []struct {
		mode    string
		secrets bool
	}{{"Shadow", true}, {"ABAC", true}, {"RBAC", false}} {
		start := time.Now()
		changed := declared(t, "  authorization: {mode: "+c.mode+"}\n")
		t.Logf("%s: up took %s", c.mode, time.Since(start).Round(10*time.Millisecond))
		if err := secrets(app, "shop"); (err == nil) != c.secrets {
			t.Errorf("%s: Secrets of its namespace: %v", c.mode, err)
		}
		if secrets(app, "default") == nil || pods(app, "default") == nil {
			t.Errorf("%s: it reads another namespace", c.mode)
		}
		fresh := "new-" + strings.ToLower(c.mode)
		space(t, fresh)
		other := asAccount(t, fresh, "app")
		eventually(t, 5*time.Second, func() error { return pods(other, fresh) })
		if err := secrets(other, fresh); (err == nil) != c.secrets {
			t.Errorf("%s: Secrets of a new namespace: %v", c.mode, err)
		}
		if out, code := try("-f", changed, "plan"); code != 0 {
			t.Errorf("%s: plan: exit %d\n%s", c.mode, code, out)
		}
	}
	stop()
	<-done
	select {
	case err := <-failed:
		t.Errorf("a request failed meanwhile: %v", err)
	default:
		t.Logf("%d requests, none failed", requests.Load())
	}
}

// TestBaselineController: what it placed is back within seconds, also after its process was killed; default
// ServiceAccounts get no token mounted.
func TestBaselineController(t *testing.T) {
	space(t, "placed")
	binding := func() error {
		if out, code := try("-f", file, "kubectl", "--", "get", "rolebinding", "ashlar:serviceaccounts", "--namespace=placed"); code != 0 {
			return errorString(out)
		}
		return nil
	}
	eventually(t, 5*time.Second, binding)
	kubectl(t, "delete", "rolebinding", "ashlar:serviceaccounts", "--namespace=placed")
	eventually(t, 5*time.Second, binding)
	ashlar(t, "exec", "control-plane-0", "--", "kill", "-9", fmt.Sprint(unitsOf(t, "control-plane-0")["baseline-controller"]))
	kubectl(t, "delete", "rolebinding", "ashlar:serviceaccounts", "--namespace=placed")
	eventually(t, 20*time.Second, binding) // its lease ends first
	if out := kubectl(t, "get", "serviceaccount", "default", "--namespace=placed", "-o", "jsonpath={.automountServiceAccountToken}"); out != "false" {
		t.Errorf("automountServiceAccountToken is %q", out)
	}
	if out := kubectl(t, "auth", "can-i", "--list", "--namespace=placed", "--as=system:serviceaccount:placed:default"); strings.Contains(out, "pods") {
		t.Errorf("the default ServiceAccount may\n%s", out)
	}
}

// TestGaps walks from ABAC to RBAC: in Shadow mode a workload uses what only ABAC allows; gaps names it and proposes a
// role; with that, there is none, and RBAC loses nothing that was used.
func TestGaps(t *testing.T) {
	space(t, "legacy")
	kubectl(t, "create", "secret", "generic", "password", "--namespace=legacy", "--from-literal=a=b")
	changed := declared(t, "  authorization: {mode: Shadow}\n")
	app := asAccount(t, "legacy", "app")
	used := func() error {
		_, err := app.CoreV1().Secrets("legacy").Get(t.Context(), "password", metav1.GetOptions{})
		if err == nil {
			_, err = app.CoreV1().ConfigMaps("legacy").List(t.Context(), metav1.ListOptions{})
		}
		return err
	}
	eventually(t, 10*time.Second, used)
	gaps := func() (found []authz.Gap) {
		t.Helper()
		out, _ := try("-f", changed, "authz", "gaps", "-o", "json")
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for i := len(found) - 1; i >= 0; i-- { // other tests' accounts are in the same log
			if found[i].Namespace != "legacy" {
				found = append(found[:i], found[i+1:]...)
			}
		}
		return found
	}
	eventually(t, 10*time.Second, func() error { // the log is written in the background
		if len(gaps()) == 0 {
			return errorString("no gap is found")
		}
		return nil
	})
	found := gaps()
	if len(found) != 1 || len(found[0].Rules) != 1 || fmt.Sprint(found[0].Rules[0].Verbs, found[0].Rules[0].Resources, found[0].Rules[0].ResourceNames) != "[get] [secrets] [password]" {
		t.Fatalf("gaps: %+v", found)
	}
	if out, code := try("-f", changed, "authz", "gaps"); code != 2 || !strings.Contains(out, "legacy/app") || !strings.Contains(out, "secrets") {
		t.Errorf("exit %d\n%s", code, out)
	}
	roles, code := try("-f", changed, "authz", "gaps", "--manifests")
	if code != 2 {
		t.Fatalf("exit %d\n%s", code, roles)
	}
	objects, err := authz.ReadRBAC([]byte(roles), "gaps")
	if err != nil {
		t.Fatal(err)
	}
	var mine authz.RBAC // only this test's: other tests' namespaces are on their way out
	for i, r := range objects.Roles {
		if r.Namespace == "legacy" {
			mine.Roles, mine.RoleBindings = append(mine.Roles, r), append(mine.RoleBindings, objects.RoleBindings[i])
		}
	}
	text, err := mine.YAML()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(text))
	if left := gaps(); len(left) > 0 {
		t.Errorf("with the role, still: %+v", left)
	}
	declared(t, "  authorization: {mode: RBAC}\n")
	if err := used(); err != nil {
		t.Errorf("under RBAC alone: %v", err)
	}
	if _, err := app.CoreV1().Secrets("legacy").List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("RBAC allows more than was used")
	}
}

// TestStaticToken: a token works while it is declared and until it expires, and is named until then.
func TestStaticToken(t *testing.T) {
	var made struct {
		Token       string
		Declaration map[string]any
	}
	out, code := try("-f", file, "token", "new", "legacy-ci", "--user", "ci", "--group", "deployers", "--for", "25s", "--reason", "the old server speaks no OIDC", "-o", "json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	began := time.Now()
	declaration, err := json.Marshal(made.Declaration)
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(target(t).Admin)
	config.BearerToken = made.Token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	who := func() (string, error) {
		r, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return r.Status.UserInfo.Username + " " + strings.Join(r.Status.UserInfo.Groups, " "), nil
	}
	if is, err := who(); err == nil {
		t.Errorf("undeclared, it is for %s", is)
	}
	changed := declared(t, fmt.Sprintf("  authentication: {staticTokens: [%s]}\n", declaration))
	eventually(t, 15*time.Second, func() error { // the API server remembers for five seconds that it did not know it
		is, err := who()
		if err == nil && is != "ci deployers system:authenticated" {
			t.Errorf("it is for %s", is)
		}
		return err
	})
	for _, command := range []string{"status", "verify"} {
		args := []string{"-f", changed, command}
		if command == "verify" {
			args = append(args, "--claim", "authn-token")
		}
		if out, code := try(args...); code != 0 || !strings.Contains(out, "static token legacy-ci of user ci, until ") || strings.Contains(out, made.Token) {
			t.Errorf("%s: exit %d\n%s", command, code, out)
		}
	}
	eventually(t, time.Minute, func() error {
		if _, err := who(); err == nil {
			return errorString("it still works")
		}
		return nil
	})
	t.Logf("refused %s after it was made, for 25s", time.Since(began).Round(time.Second))
	if out, _ := try("-f", changed, "status"); !strings.Contains(out, "static token legacy-ci of user ci, expired ") {
		t.Errorf("status does not name it any more:\n%s", out)
	}
}

// TestBreakGlass: with Vault gone there is a way in, which is recorded and leaves nothing behind.
func TestBreakGlass(t *testing.T) {
	c := open(t)
	t.Cleanup(func() { ashlar(t, "up") })
	if err := c.Provider.PowerOff(t.Context(), "vault-0"); err != nil {
		t.Fatal(err)
	}
	if out, code := try("-f", file, "kubectl", "--", "get", "nodes"); code == 0 {
		t.Errorf("without Vault, kubectl works:\n%s", out)
	}
	if out, code := try("-f", file, "break-glass", "--reason", "no", "--", "get", "nodes"); code != 64 {
		t.Errorf("without a reason: exit %d\n%s", code, out)
	}
	out, code := try("-f", file, "break-glass", "--reason", "Vault is gone, INC-42", "--", "get", "nodes")
	if code != 0 || !strings.Contains(out, "worker-0") {
		t.Fatalf("exit %d\n%s", code, out)
	}
	eventually(t, 10*time.Second, func() error {
		log := ashlar(t, "exec", "control-plane-0", "--", "grep", "-F", "ashlar:break-glass", "/var/log/kubernetes/audit.log")
		if !strings.Contains(log, "INC-42") {
			return errorString("the audit log has no reason: " + log)
		}
		return nil
	})
	if left, err := c.BreakGlassTokens(t.Context(), "control-plane-0"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestOIDC: an issuer that the file declares is trusted for what it says, as the file says to read it, and no more.
func TestOIDC(t *testing.T) {
	i := newIssuer(t, "control-plane-0")
	ca, err := json.Marshal(i.ca)
	if err != nil {
		t.Fatal(err)
	}
	declared(t, fmt.Sprintf(`  authentication:
    oidc:
    - issuer: %s
      audiences: [ashlar]
      certificateAuthority: %s
      username: "'corp-' + claims.sub"
      groups: claims.roles
      rules: [{expression: "claims.amr == 'mfa'", message: two factors are needed}]
`, i.url, ca))
	good := map[string]any{"iss": i.url, "aud": "ashlar", "sub": "alice", "roles": []string{"ops"}, "amr": "mfa",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	admin := target(t).Admin
	who := func(changes map[string]any) (string, error) {
		claims := map[string]any{}
		for k, v := range good {
			claims[k] = v
		}
		for k, v := range changes {
			claims[k] = v
		}
		config := rest.AnonymousClientConfig(admin)
		config.BearerToken = i.token(t, claims)
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return r.Status.UserInfo.Username + " " + strings.Join(r.Status.UserInfo.Groups, " "), nil
	}
	eventually(t, 30*time.Second, func() error { // the API server fetches the issuer's keys in its own time
		is, err := who(nil)
		if err == nil && is != "corp-alice ops system:authenticated" {
			t.Errorf("she is %s", is)
		}
		return err
	})
	for what, change := range map[string]map[string]any{
		"another audience":         {"aud": "other"},
		"another issuer":           {"iss": "https://localhost:1"},
		"expired":                  {"exp": time.Now().Add(-time.Minute).Unix()},
		"one factor":               {"amr": "pwd"},
		"a component's group":      {"roles": []string{"system:masters"}},
		"an administrator's":       {"roles": []string{"ashlar:admins"}},
		"a user of the wrong type": {"sub": 7},
	} {
		if is, err := who(change); err == nil {
			t.Errorf("%s: it is for %s", what, is)
		}
	}
}

// TestRobot: a program that the file declares logs in with its secret, from its addresses, until the file forgets it.
func TestRobot(t *testing.T) {
	changed := declared(t, "  authentication: {robots: [{name: ci, groups: [deployers], cidrs: [10.90.0.1/32]}, {name: far, cidrs: [192.0.2.0/24]}]}\n")
	secret := func(robot string, args ...string) string {
		t.Helper()
		out, code := try(append([]string{"-f", changed, "user", "robot-secret", robot}, args...)...)
		if code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
		return out
	}
	login := func(robot, secret string) (string, int) {
		return tryWith(secret, "-f", changed, "login", robot, "--robot", "--secret-stdin")
	}
	first := secret("ci")
	if out, code := login("ci", first); code != 0 || strings.Contains(out, strings.TrimSpace(first)) {
		t.Fatalf("exit %d\n%s", code, out)
	}
	eventually(t, time.Minute, func() error { // the API servers fetch Vault's keys in their own time
		out, code := try("-f", changed, "kubectl", "--user", "ci", "--", "auth", "whoami")
		if code == 0 && (!strings.Contains(out, "ci") || !strings.Contains(out, "[deployers system:authenticated]")) {
			t.Errorf("it is\n%s", out)
		}
		if code != 0 {
			return errorString(out)
		}
		return nil
	})
	if out, code := login("far", secret("far")); code == 0 {
		t.Errorf("from another address than its own:\n%s", out)
	}
	if out, code := login("far", first); code == 0 {
		t.Errorf("with another robot's secret:\n%s", out)
	}
	secret("ci", "--replace")
	if out, code := login("ci", first); code == 0 {
		t.Errorf("with a secret that was replaced:\n%s", out)
	}
	if out := ashlar(t, "user", "list"); strings.Contains(out, "ci") {
		t.Errorf("robots are no users:\n%s", out)
	}
	ashlar(t, "up")
	if out, code := try("-f", changed, "kubectl", "--user", "ci", "--", "get", "namespaces"); code == 0 {
		t.Errorf("the file has forgotten it, and its session goes on:\n%s", out)
	}
}

// issuer is a small OpenID provider inside of a machine.
type issuer struct {
	url, ca string
	key     *ecdsa.PrivateKey
	mux     *http.ServeMux
}

func newIssuer(t *testing.T, machine string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const address = "127.0.0.1:9555"
	mux := http.NewServeMux()
	i := &issuer{url: "https://localhost:9555", key: key, mux: mux, ca: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	var listener net.Listener
	if err := open(t).RunInside(machine, func() (err error) { listener, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token", "id_token_signing_alg_values_supported": []string{"ES256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1",
			"x": encode(point[1:33]), "y": encode(point[33:])}}})
	})
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return i
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a signed one (RFC 7519).
func (i *issuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := encode([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}
