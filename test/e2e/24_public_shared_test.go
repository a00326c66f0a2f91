package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// TestSharedPublicPort: of two services on one port, a client reaches the one whose name it asks for; the internet reaches that port
// once, as is declared.
func TestSharedPublicPort(t *testing.T) {
	const ns, alone = "shared", "services: [{name: web, port: 443, pool: worker, targetPort: 30443}]"
	text := strings.Replace(clusterFile(name), alone, `services:
    - {name: web, port: 443, pool: worker, targetPort: 30443, hostnames: [jenkins.example.org]}
    - {name: foreman, port: 443, pool: worker, targetPort: 30444, hostnames: [foreman.example.org]}`, 1)
	if !strings.Contains(text, "foreman") {
		t.Fatalf("the shared cluster's file has no %q", alone)
	}
	changed := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "up") })
	up(t, changed)
	image := importImage(t, "agnhost")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns))
	certificate, key := selfSigned(t, "jenkins.example.org")
	apply(t, fmt.Sprintf(jenkins, ns, base64.StdEncoding.EncodeToString(certificate), base64.StdEncoding.EncodeToString(key), image))
	kubectl(t, "rollout", "status", "deployment/jenkins", "--namespace="+ns, "--timeout=120s")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	target := target(t)
	asks := func(name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for _, m := range target.Machines {
			if m.Role != v1alpha1.RolePublicLB {
				continue
			}
			conn, err := target.Provider.Dial(ctx, provider.FromTrusted, "tcp", net.JoinHostPort(m.Public.String(), "443"))
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: name, InsecureSkipVerify: name != "jenkins.example.org"}) //nolint:gosec // who answers is the question
			if _, err := fmt.Fprint(secure, "GET /hostname HTTP/1.0\r\n\r\n"); err != nil {
				return err
			}
			answer, err := io.ReadAll(secure)
			if err == nil && !strings.Contains(string(answer), "jenkins-") {
				err = errors.New(string(answer))
			}
			return err
		}
		return errors.New("there is no public load balancer")
	}
	eventually(t, time.Minute, func() error { return asks("jenkins.example.org") })
	for _, other := range []string{"foreman.example.org", "other.example.org", ""} { // behind the first there is nobody
		if asks(other) == nil {
			t.Errorf("who asks for %q comes to jenkins", other)
		}
	}
	if out, code := try("-f", changed, "exposure"); code != 0 || !strings.Contains(out, "web, foreman") {
		t.Errorf("exposure: exit %d\n%s", code, out)
	}
}
