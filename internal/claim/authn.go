package claim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

var authnClaims = []Claim{
	{
		ID:    "authn-x509",
		Says:  "X.509 Client Certificate Auth",
		Holds: "a certificate of a plane's own CA authenticates there; one of any other CA, expired or self-signed does not, on any plane",
		Probe: probeX509,
	},
	{
		ID:    "authn-serviceaccount",
		Says:  "Service Account token auth",
		Holds: "pod tokens are bound, for one audience, and expire within the hour; there are no long-lived ones",
		Probe: probeServiceAccount,
	},
	{
		ID:    "authn-password",
		Says:  "Static User / Password auth",
		Holds: "a user logs in to Vault with a password and gets a credential of ten minutes; wrong passwords lock out; the API itself takes none",
		Probe: probePassword,
	},
	{
		ID:    "authn-token",
		Says:  "Static Token auth",
		Holds: "static tokens are off unless declared, each with an expiry and a reason; the API knows no other, of no file and of no operator",
		Probe: probeToken,
	},
	{
		ID:    "authn-anonymous",
		Says:  "After a client is authenticated Kubernetes, by default, authorizes this client",
		Holds: "anonymous requests reach only /livez, /readyz and /healthz",
		Probe: probeAnonymous,
	},
}

// plane is a server that authenticates its clients.
type plane struct {
	name, vantage, address, server, path string
	ca                                   unit.CA
	// accepts are the CAs whose certificates it may take.
	accepts []unit.CA
	// closes says that a stranger gets a TLS alert, not an answer.
	closes bool
}

// planes lists the API (through the load balancer), each kubelet and each etcd.
func planes(t *Target) []plane {
	var out []plane
	vantage := t.Desired.WithRole(v1alpha1.RoleControlPlane)[0].Name
	for _, m := range t.Desired.WithRole(v1alpha1.RoleLB)[:1] {
		out = append(out, plane{name: "kube-apiserver", vantage: provider.FromOperator, address: address(m, unit.PortAPIServer),
			server: unit.APIServerName, path: "/api", ca: unit.CAKubernetes, accepts: []unit.CA{unit.CAKubernetes, unit.CAFrontProxy}})
	}
	for _, m := range t.Desired.WithRole(v1alpha1.RoleWorker) {
		out = append(out, plane{name: "kubelet " + m.Name, vantage: vantage, address: address(m, unit.PortKubelet),
			server: m.Name, path: "/healthz", ca: unit.CAKubernetes, accepts: []unit.CA{unit.CAKubernetes}})
	}
	for _, m := range t.Desired.WithRole(v1alpha1.RoleEtcd) {
		for _, c := range unit.EtcdClusters {
			out = append(out, plane{name: "etcd-" + c.Name + " " + m.Name, vantage: vantage, address: address(m, c.ClientPort),
				server: m.Name, path: "/version", ca: c.CA, accepts: []unit.CA{c.CA}, closes: true})
		}
	}
	return out
}

func address(m unit.Machine, port int) string {
	return net.JoinHostPort(m.Address.String(), fmt.Sprint(port))
}

// answer is what came back from a plane.
type answer struct {
	status int
	body   string
	alert  error // a TLS alert instead of an answer
	asked  [][]byte
}

// ask sends one request on a connection of its own, as the holder of a certificate (nil: nobody).
// An error means that it could not be tried; a TLS alert is an answer.
func (p plane) ask(ctx context.Context, t *Target, path string, cert *tls.Certificate) (answer, error) {
	var out answer
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.Desired.CAs[p.ca]))
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return t.Provider.Dial(ctx, p.vantage, network, p.address)
		},
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: p.server, MinVersion: tls.VersionTLS12,
			// Present it even where the server does not name its issuer: a well-behaved client would hide the attack.
			GetClientCertificate: func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				out.asked = i.AcceptableCAs
				if cert == nil {
					return &tls.Certificate{}, nil
				}
				return cert, nil
			},
		},
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.address+path, nil)
	if err != nil {
		return out, err
	}
	res, err := (&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	var alert tls.AlertError
	if err != nil && (errors.As(err, &alert) || strings.Contains(err.Error(), "remote error: tls:")) {
		out.alert = err
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("ask %s for %s from %s: %w", p.name, path, p.vantage, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 512))
	out.status, out.body = res.StatusCode, string(b)
	return out, err
}

// askAgain asks until there is an answer that means something: a kubelet whose API server has just started anew cannot
// ask it, and says 500 for a moment.
func (p plane) askAgain(ctx context.Context, t *Target, path string, cert *tls.Certificate) (answer, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a, err := p.ask(ctx, t, path, cert)
		if err != nil || a.status < http.StatusInternalServerError || time.Now().After(deadline) || ctx.Err() != nil {
			return a, err
		}
	}
}

// said is the answer for people to read.
func (a answer) said() string {
	if a.alert != nil {
		msg := a.alert.Error()
		return msg[max(0, strings.LastIndex(msg, "remote error")):]
	}
	return fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
}
