package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/provider"
)

// jenkins is what a user would put behind the public load balancer: it speaks TLS itself.
const jenkins = `
apiVersion: v1
kind: Secret
metadata: {name: tls, namespace: %[1]s}
data: {tls.crt: %[2]s, tls.key: %[3]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: jenkins, namespace: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: jenkins}}
  template:
    metadata: {labels: {app: jenkins}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      volumes: [{name: tls, secret: {secretName: tls}}]
      containers:
      - name: jenkins
        image: %[4]s
        args: [netexec, --http-port=8443, --tls-cert-file=/tls/tls.crt, --tls-private-key-file=/tls/tls.key]
        volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
        readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: jenkins, namespace: %[1]s}
spec: {type: NodePort, selector: {app: jenkins}, ports: [{port: 443, targetPort: 8443, nodePort: 30443}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: jenkins, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: jenkins}}
  policyTypes: [Ingress]
  ingress: [{ports: [{protocol: TCP, port: 8443}]}]
`

// TestPublicService: a declared service is reached from the trusted internet, over TLS and by nothing else.
func TestPublicService(t *testing.T) {
	const ns = "public"
	image := importImage(t, "agnhost")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns))
	certificate, key := selfSigned(t, "jenkins.example.org")
	apply(t, fmt.Sprintf(jenkins, ns, base64.StdEncoding.EncodeToString(certificate), base64.StdEncoding.EncodeToString(key), image))
	kubectl(t, "rollout", "status", "deployment/jenkins", "--namespace="+ns, "--timeout=60s")

	c := open(t)
	machines, err := c.Machines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var public netip.Addr
	for _, m := range machines {
		if m.Name == "public-lb-0" {
			public = m.Public
		}
	}
	knock := func(vantage string, port uint16) (net.Conn, error) {
		dial, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return c.Provider.Dial(dial, vantage, "tcp", netip.AddrPortFrom(public, port).String())
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	greet := func() error {
		conn, err := knock(provider.FromTrusted, 443)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "jenkins.example.org"})
		if _, err := fmt.Fprint(secure, "GET /hostname HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		answer, err := io.ReadAll(secure)
		if err == nil && !strings.Contains(string(answer), "jenkins-") {
			err = errors.New(string(answer))
		}
		return err
	}
	eventually(t, 30*time.Second, greet) // kube-proxy and the load balancer's checks take their time
	for range 10 {
		if err := greet(); err != nil {
			t.Error(err)
		}
	}
	t.Run("plain text is refused", func(t *testing.T) {
		conn, err := knock(provider.FromTrusted, 443)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprint(conn, "GET /hostname HTTP/1.0\r\n\r\n")
		if answer, _ := io.ReadAll(conn); len(answer) > 0 {
			t.Errorf("it was answered: %q", answer)
		}
	})
	for _, closed := range []struct {
		vantage string
		port    uint16
	}{{provider.FromInternet, 443}, {provider.FromTrusted, 30443}, {provider.FromTrusted, 22}} {
		if conn, err := knock(closed.vantage, closed.port); err == nil {
			_ = conn.Close()
			t.Errorf("port %d is open to %s", closed.port, closed.vantage)
		}
	}
}

// selfSigned makes a certificate for a name, and its key, as PEM.
func selfSigned(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}
