package claim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/vault"
)

var vaultClaims = []Claim{vaultClosed}

var vaultClosed = Claim{
	ID:    "vault-closed",
	Says:  "Vault … provides a well featured PKI backend",
	Holds: "no root token lives, no machine has sudo, and Vault speaks TLS 1.2 or later only, to those who show a token",
	Probe: probeVaultClosed,
}

func probeVaultClosed(ctx context.Context, t *Target) ([]Evidence, error) {
	held, err := t.vaultHolds(ctx)
	if err != nil {
		return nil, err
	}
	open, err := t.vaultPaths(ctx)
	if err != nil {
		return nil, err
	}
	out := append(held, open...)
	for _, m := range t.Machines {
		if m.Role != v1alpha1.RoleVault {
			continue
		}
		wire, err := t.vaultWire(ctx, m)
		if err != nil {
			return nil, err
		}
		out = append(out, wire...)
	}
	return out, nil
}

// vaultHolds looks for what outlived its purpose: root tokens, and policies that give a machine sudo.
func (t *Target) vaultHolds(ctx context.Context) ([]Evidence, error) {
	state, err := vault.Observe(ctx, t.Vault, vault.State{Cluster: t.Desired.Cluster})
	if err != nil {
		return nil, err
	}
	roots := Evidence{Attempt: "find a live root token by its accessor", From: provider.FromOperator, As: "operator", Want: Refused, Got: Refused, Answer: "there is none"}
	var out []Evidence
	for _, o := range state.Objects {
		switch o.Kind {
		case vault.KindRootToken:
			roots.Got, roots.Answer = Allowed, o.Path
		case vault.KindPolicy:
			if !strings.HasSuffix(o.Path, "/"+vault.PolicyName(t.Desired.Cluster, vault.Operator)) {
				text, _ := o.Fields["policy"].(string)
				out = append(out, sudoEvidence(o.Path, text))
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the operator sees no policy of a machine")
	}
	return append(out, roots), nil
}

// sudoEvidence says whether a policy grants the right to override protection.
func sudoEvidence(path, policy string) Evidence {
	e := Evidence{Attempt: "find sudo in " + path, From: provider.FromOperator, As: "operator", Want: Refused, Got: Refused, Answer: "it grants none"}
	for line := range strings.Lines(policy) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(line, "sudo") {
			e.Got, e.Answer = Allowed, strings.TrimSpace(line)
		}
	}
	return e
}

// vaultPaths tries, without any token, what must be open and what must not.
func (t *Target) vaultPaths(ctx context.Context) ([]Evidence, error) {
	c := t.Desired.Cluster
	var out []Evidence
	for _, a := range []struct {
		path string
		want Expectation
	}{
		{"sys/health", Allowed}, // also says that it is unsealed
		{c + "/pki/kubernetes/cert/ca", Allowed},
		{c + "/pki/kubernetes/certs", Refused},
		{c + "/pki/kubernetes/roles/kubelet", Refused},
		{c + "/machines/data/vault-0/desired", Refused},
		{c + "/secrets/data/" + vault.ServiceAccountDocument, Refused},
		{c + "/transit/keys/" + vault.TransitKey, Refused},
		{"sys/mounts", Refused}, {"sys/policies/acl/root", Refused}, {"sys/audit", Refused}, {"sys/metrics", Refused},
		{"sys/pprof/heap", Refused}, {"sys/host-info", Refused}, {"sys/storage/raft/snapshot", Refused}, {"auth/token/lookup-self", Refused},
	} {
		status, err := t.vaultAnswer(ctx, provider.FromOperator, "", http.MethodGet, a.path, nil)
		if err != nil {
			return nil, err
		}
		e, err := vaultVerdict("read "+a.path, provider.FromOperator, "nobody", a.want, status)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// vaultWire tries to speak to a server with less than TLS 1.2.
func (t *Target) vaultWire(ctx context.Context, m provider.Machine) ([]Evidence, error) {
	var out []Evidence
	for _, v := range []struct {
		version uint16
		want    Expectation
	}{{tls.VersionTLS10, Refused}, {tls.VersionTLS11, Refused}, {tls.VersionTLS12, Allowed}, {tls.VersionTLS13, Allowed}} {
		conn, err := t.Provider.Dial(ctx, provider.FromOperator, "tcp", vaultAddress(m))
		if err != nil {
			return nil, err
		}
		//nolint:gosec // what is tried is the version, not who answers
		err = tls.Client(conn, &tls.Config{MinVersion: v.version, MaxVersion: v.version, InsecureSkipVerify: true}).HandshakeContext(ctx)
		_ = conn.Close()
		var alert tls.AlertError
		var op *net.OpError
		if err != nil && !errors.As(err, &alert) && (!errors.As(err, &op) || op.Op != "remote error") {
			return nil, fmt.Errorf("%s to %s: %w", tls.VersionName(v.version), m.Name, err)
		}
		out = append(out, attempt(tls.VersionName(v.version)+" to "+m.Name, provider.FromOperator, "nobody", v.want, err))
	}
	plain, err := t.plainHTTP(ctx, m)
	return append(out, plain), err
}

// plainHTTP speaks without TLS. Go's server says in plain words that it wants it.
func (t *Target) plainHTTP(ctx context.Context, m provider.Machine) (Evidence, error) {
	e := Evidence{Attempt: "plain HTTP to " + m.Name, From: provider.FromOperator, As: "nobody", Want: Refused}
	conn, err := t.Provider.Dial(ctx, provider.FromOperator, "tcp", vaultAddress(m))
	if err != nil {
		return e, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "GET /v1/sys/health HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n"); err != nil {
		return e, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 4096))
	first, _, _ := strings.Cut(string(answer), "\r\n")
	e.Answer, e.Got = first, Allowed
	if strings.Contains(first, "400") && strings.Contains(string(answer), "HTTP request to an HTTPS server") {
		e.Got = Refused
	} else if first == "" {
		return e, errors.Join(errors.New(m.Name+" says nothing to plain HTTP"), err)
	}
	return e, nil
}
