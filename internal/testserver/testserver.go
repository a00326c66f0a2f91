// Package testserver runs the real programs of a bundle for the length of a test: etcd, the API server and whatever
// else is asked for, on loopback, with ports and directories of the test's own.
package testserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Bin is the path of a program of the bundle; without a bundle the test is skipped.
func Bin(t testing.TB, name string) string {
	t.Helper()
	bundle := os.Getenv("ASHLAR_TEST_BUNDLE")
	if bundle == "" {
		t.Skip("ASHLAR_TEST_BUNDLE is not set: it names a bundle's directory, whose bin/ has " + name)
	}
	return filepath.Join(bundle, "bin", name)
}

// Run starts a program of the bundle that the end of the test kills; what it said is shown if the test failed.
func Run(t testing.TB, env []string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(Bin(t, program), args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && out.Len() > 0 {
			t.Logf("%s said (its end):\n%s", program, out.Bytes()[max(0, out.Len()-4000):])
		}
	})
}

// Etcd runs an etcd and returns its endpoint. With args for TLS, scheme is https.
func Etcd(t testing.TB, scheme string, args ...string) string {
	t.Helper()
	endpoint, peer := fmt.Sprintf("%s://127.0.0.1:%d", scheme, Port(t)), fmt.Sprintf("http://127.0.0.1:%d", Port(t))
	Run(t, nil, "etcd", append([]string{"--name=t", "--data-dir=" + filepath.Join(t.TempDir(), "etcd"), "--log-level=fatal", "--unsafe-no-fsync",
		"--heartbeat-interval=10", "--election-timeout=100", "--listen-client-urls=" + endpoint, "--advertise-client-urls=" + endpoint,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=t=" + peer}, args...)...)
	return endpoint
}

// API is a running API server.
type API struct {
	// Admin may do everything.
	Admin *rest.Config
	// Etcd is where it stores.
	Etcd string
	// Started is how long it took from its start to being ready.
	Started time.Duration
	tokens  map[string]string
}

// As is the configuration of the user who is in a group given to StartAPI.
func (a API) As(group string) *rest.Config {
	config := rest.CopyConfig(a.Admin)
	config.BearerToken = a.tokens[group]
	return config
}

// StartAPI runs an etcd and an API server with a user in each of the groups, and waits until it is ready.
func StartAPI(t testing.TB, groups []string, args ...string) API {
	t.Helper()
	dir, secure := t.TempDir(), Port(t)
	tokens, lines := map[string]string{}, ""
	for _, group := range append([]string{"system:masters"}, groups...) {
		tokens[group] = rand.Text()
		lines += fmt.Sprintf("%s,test %s,test,%q\n", tokens[group], group, group)
	}
	Write(t, filepath.Join(dir, "tokens"), lines)
	Write(t, filepath.Join(dir, "sa.key"), key(t))
	etcd, start := Etcd(t, "http"), time.Now()
	Run(t, nil, "kube-apiserver", append([]string{"--etcd-servers=" + etcd, "--cert-dir=" + dir, "--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", fmt.Sprintf("--secure-port=%d", secure),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file=" + filepath.Join(dir, "tokens"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "sa.key")}, args...)...)
	a := API{Etcd: etcd, tokens: tokens, Admin: &rest.Config{Host: fmt.Sprintf("https://127.0.0.1:%d", secure),
		BearerToken: tokens["system:masters"], TLSClientConfig: rest.TLSClientConfig{Insecure: true}}}
	client, err := rest.HTTPClientFor(a.Admin)
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, "ready API server", func() bool {
		response, err := client.Get(a.Admin.Host + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	a.Started = time.Since(start)
	return a
}

// Kubeconfig writes a configuration to a file, and returns its path.
func Kubeconfig(t testing.TB, config *rest.Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	Write(t, path, fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: t,
clusters: [{name: t, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: t, user: {token: %q}}],
contexts: [{name: t, context: {cluster: t, user: t}}]}
`, config.Host, config.BearerToken))
	return path
}

// Eventually waits for half a minute for something to hold.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still no %s after 30 s", what)
		}
	}
}

// Write makes a file that only its owner may read.
func Write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Port is a free one on loopback.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// key makes a key that signs ServiceAccount tokens. The API server reads a public key from "EC PRIVATE KEY", but not
// from PKCS #8's "PRIVATE KEY".
func key(t testing.TB) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
