package claim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// door is a place where a credential is shown. enter returns what it was told, whether it was let in, and an error if that could
// not be tried.
type door struct {
	name, from string
	ca         unit.CA
	// once: it cannot be tried with a twin.
	once  bool
	enter func(ctx context.Context, cert *tls.Certificate) (answer string, in bool, err error)
}

// with is the credential for a door.
func (d door) with(all []thrownAway) *thrownAway {
	for i := range all {
		if all[i].ca == d.ca {
			return &all[i]
		}
	}
	return &thrownAway{name: "a machine's token"}
}

func (d door) try(ctx context.Context, all []thrownAway, when string, want Expectation) (Evidence, error) {
	c := d.with(all)
	e := Evidence{Attempt: "enter " + d.name + " " + when, From: d.from, As: c.name, Want: want, Got: Refused}
	var err error
	var in bool
	// A kubelet that is answered late says 500 for a moment.
	for deadline := time.Now().Add(RefusedWithin); ; {
		e.Answer, in, err = d.enter(ctx, &c.pair)
		if in || time.Now().After(deadline) || ctx.Err() != nil || d.once {
			break
		}
		if err := pause(ctx); err != nil {
			return e, err
		}
	}
	if in {
		e.Got = Allowed
	}
	return e, err
}

// until goes on until the credential is refused.
func (d door) until(ctx context.Context, all []thrownAway, began time.Time) (Evidence, error) {
	c := d.with(all)
	e := Evidence{Attempt: "go on entering " + d.name + " after it was revoked", From: d.from, As: c.name, Want: Refused, Got: Allowed}
	for {
		answer, in, err := d.enter(ctx, &c.pair)
		took := time.Since(began)
		if err == nil && !in && took <= RefusedWithin {
			e.Got, e.Answer = Refused, fmt.Sprintf("%s, since %.1f s", answer, took.Seconds())
			return e, nil
		}
		if took > RefusedWithin {
			e.Answer = fmt.Sprintf("%s, still after %.0f s", answer, took.Seconds())
			return e, err
		}
		if err := pause(ctx); err != nil {
			return e, err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// doors are every API server, kubelet and etcd, connections to etcd that stay open, and Vault.
func (t *Target) doors(machine, token string) []door {
	var out []door
	for _, p := range planes(t) {
		if p.name != "kube-apiserver" {
			out = append(out, p.door(t))
		}
		if p.closes {
			out = append(out, p.openDoor(t))
		}
	}
	for _, m := range t.Desired.WithRole(v1alpha1.RoleControlPlane) { // each, not whichever the load balancer chooses
		p := plane{name: "kube-apiserver " + m.Name, vantage: m.Name, address: address(m, unit.PortAPIServer), server: unit.APIServerName,
			path: "/api", ca: unit.CAKubernetes}
		out = append(out, p.door(t))
	}
	return append(out, door{name: "vault", from: machine, once: true, enter: func(ctx context.Context, _ *tls.Certificate) (string, bool, error) {
		status, err := t.vaultAnswer(ctx, machine, token, http.MethodGet, "auth/token/lookup-self", nil)
		return fmt.Sprintf("%d %s", status, http.StatusText(status)), status == http.StatusOK, err
	}})
}

// door shows a certificate on a connection of its own. An etcd that refuses one says so, or hangs up: which, depends on how far its
// client has read.
func (p plane) door(t *Target) door {
	return door{name: p.name, from: p.vantage, ca: p.ca, enter: func(ctx context.Context, cert *tls.Certificate) (string, bool, error) {
		a, err := p.ask(ctx, t, p.path, cert)
		switch {
		case err != nil && p.closes && ctx.Err() == nil:
			return "it hung up", false, nil
		case err != nil:
			return err.Error(), false, err
		case !p.closes && a.status != http.StatusOK && a.status != http.StatusForbidden:
			return a.said(), false, fmt.Errorf("%s: unexpected answer: %s", p.name, a.said())
		}
		return a.said(), a.alert == nil && a.status == http.StatusOK, nil
	}}
}

// openDoor goes on asking on a connection that was open before, from the machine itself: no one else's ends with it.
func (p plane) openDoor(t *Target) door {
	machine := p.server
	_, port, _ := net.SplitHostPort(p.address)
	var client *http.Client
	return door{name: "an open connection to " + p.name, from: machine, ca: p.ca, once: true,
		enter: func(ctx context.Context, cert *tls.Certificate) (string, bool, error) {
			if client == nil {
				conn, err := t.Provider.Dial(ctx, machine, "tcp", net.JoinHostPort("127.0.0.1", port))
				if err != nil {
					return "", false, err
				}
				client = onlyOn(conn, p.clientConfig(t, cert))
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.address+p.path, nil)
			if err != nil {
				return "", false, err
			}
			res, err := client.Do(req)
			if err != nil {
				return "it ended", false, ctx.Err()
			}
			_, _ = io.Copy(io.Discard, res.Body) // or the connection could not be used again
			_ = res.Body.Close()
			return res.Status, res.StatusCode == http.StatusOK, nil
		}}
}

// onlyOn is a client that has one connection and never opens another.
func onlyOn(conn net.Conn, config *tls.Config) *http.Client {
	first := true
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: config,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if !first {
				return nil, errors.New("the connection has ended")
			}
			first = false
			return conn, nil
		}}}
}

// clientConfig shows a certificate to a plane.
func (p plane) clientConfig(t *Target, cert *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.Desired.CAs[p.ca]))
	return &tls.Config{RootCAs: roots, ServerName: p.server, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}}
}

// keyAndRequest makes a key in memory and a CSR for it.
func keyAndRequest() (keyPEM, csr string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
}
