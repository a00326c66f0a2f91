package claim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// vaultMachine is the machine whose Vault leads: the others forward some requests to it, and redirect the rest.
func (t *Target) vaultMachine(ctx context.Context) (provider.Machine, error) {
	for _, m := range t.Machines {
		if m.Role != v1alpha1.RoleVault {
			continue
		}
		c, err := t.VaultAt(ctx, m)
		if err != nil {
			return m, err
		}
		leads, err := c.Leads(ctx)
		c.Close()
		if err == nil && leads {
			return m, nil
		}
	}
	return provider.Machine{}, fmt.Errorf("no Vault of cluster %s leads", t.Desired.Cluster)
}

// vaultAnswer sends one request to Vault, word for word as an attacker would, from a vantage, and returns the status.
// Only an answer of Vault counts: whoever cannot reach it has tried nothing.
func (t *Target) vaultAnswer(ctx context.Context, vantage, token, method, path string, body any) (int, error) {
	m, err := t.vaultMachine(ctx)
	if err != nil {
		return 0, err
	}
	var payload []byte
	if body != nil {
		if payload, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	transport := t.vaultTransport(m, vantage)
	transport.DisableKeepAlives = true
	req, err := http.NewRequestWithContext(ctx, method, "https://"+vaultAddress(m)+"/v1/"+path, bytes.NewReader(payload))
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s %s from %s: %w", method, path, vantage, err)
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 16<<20)) // may hold secrets: never kept
	return res.StatusCode, err
}

// vaultTransport connects to a Vault from a vantage.
func (t *Target) vaultTransport(m provider.Machine, vantage string) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.Desired.CAs[unit.CAVault]))
	return &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: m.Name},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return t.Provider.Dial(ctx, vantage, network, vaultAddress(m))
		},
	}
}

func vaultAddress(m provider.Machine) string {
	return net.JoinHostPort(m.Address.String(), strconv.Itoa(unit.PortVault))
}

// vaultVerdict makes evidence of a status. What is neither a success nor Vault's own no is no evidence.
func vaultVerdict(what, from, as string, want Expectation, status int) (Evidence, error) {
	e := Evidence{Attempt: what, From: from, As: as, Want: want, Answer: fmt.Sprintf("%d %s", status, http.StatusText(status))}
	switch {
	case status >= 200 && status < 300:
		e.Got = Allowed
	case status == http.StatusForbidden || status == http.StatusBadRequest:
		e.Got = Refused
	default:
		return e, fmt.Errorf("%s: Vault answered %s, which is neither yes nor no", what, e.Answer)
	}
	return e, nil
}
