package claim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/intruder"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

var pkiInitToken = Claim{
	ID:    "pki-init-token",
	Says:  "init-token generates a short-lived EC2 instance unique token, that is bound to the instance's role (etcd, master or worker)",
	Holds: "an init token works once, within minutes, from its own machine, and yields that machine's certificates and nothing else",
	Probe: probeInitToken,
}

// vaultFrom is a client without a token whose connections come from a machine.
func (t *Target) vaultFrom(ctx context.Context, machine string) (*vault.Client, error) {
	m, err := t.vaultMachine(ctx)
	if err != nil {
		return nil, err
	}
	return vault.New(vault.Options{
		Cluster: t.Desired.Cluster, CAs: t.Desired.CAs[unit.CAVault],
		Addresses: []string{net.JoinHostPort(m.Name, strconv.Itoa(unit.PortVault))},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return t.Provider.Dial(ctx, machine, network, vaultAddress(m))
		},
	})
}

// victims are two machines: one whose init token is attacked, and another of its role where there is one.
func (t *Target) victims() (own, other provider.Machine, err error) {
	for _, m := range t.Machines {
		switch {
		case m.Role != v1alpha1.RoleWorker:
		case own.Name == "":
			own = m
		default:
			return own, m, nil
		}
	}
	return own, other, errors.New("the attack needs two workers")
}

func probeInitToken(ctx context.Context, t *Target) ([]Evidence, error) {
	own, other, err := t.victims()
	if err != nil {
		return nil, err
	}
	here, err := t.vaultFrom(ctx, own.Name)
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := t.vaultFrom(ctx, other.Name)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	evidence, err := t.attackInitToken(ctx, own, other, here, there)
	if err != nil {
		return nil, err
	}
	token, err := t.Vault.IssueInitToken(ctx, own.Name, time.Minute)
	if err != nil {
		return nil, err
	}
	machine, _, err := here.LoginMachine(ctx, own.Name, token)
	e, err := refusal("log in with an init token", own.Name, own.Name, Allowed, err)
	if err != nil || !e.Held() {
		return append(evidence, e), err
	}
	// This token is the probe's own; the machine's is another.
	defer func() { _ = machine.RevokeSelf(context.WithoutCancel(ctx)) }()
	_, _, err = here.LoginMachine(ctx, own.Name, token)
	again, err := refusal("use the same init token again", own.Name, own.Name, Refused, err)
	if err != nil {
		return nil, err
	}
	more, err := t.attackMachineToken(ctx, own, other, machine)
	if err != nil {
		return nil, err
	}
	random, err := t.attackAtRandom(ctx, own, other, machine)
	return append(append(append(evidence, e, again), more...), random), err
}

// intrusions is how many random requests are sent.
const intrusions = 100

// attackAtRandom sends Vault random requests as a machine that was taken over, and that stole another's init token.
func (t *Target) attackAtRandom(ctx context.Context, own, other provider.Machine, machine *vault.Client) (Evidence, error) {
	e := Evidence{Attempt: fmt.Sprintf("get anything of another by %d random requests", intrusions), From: own.Name, As: own.Name, Want: Refused, Got: Refused,
		Answer: "nothing but its own"}
	m, err := t.vaultMachine(ctx)
	if err != nil {
		return e, err
	}
	stolen, err := t.Vault.IssueInitToken(ctx, other.Name, time.Minute)
	if err != nil {
		return e, err
	}
	csr, err := pkiRequest()
	if err != nil {
		return e, err
	}
	type issued struct {
		ca          unit.CA
		certificate string
	}
	var all []issued
	transport := t.vaultTransport(m, own.Name)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	i := intruder.Intruder{
		Cluster: t.Desired.Cluster, LeafTTL: t.Desired.LeafTTL, CAs: t.Desired.CAs, CSR: csr, Send: intruder.Over(client, vaultAddress(m)),
		Tokens: []string{machine.Token(), stolen}, Secrets: []string{machine.Token()},
		Issued: func(ca unit.CA, certificate string) { all = append(all, issued{ca, certificate}) },
	}
	for _, m := range t.Desired.Machines {
		if m.Name == own.Name {
			i.Own = m
		} else {
			i.Others = append(i.Others, m)
		}
	}
	prize, err := i.Run(ctx, rand.IntN, intrusions)
	if prize != "" {
		e.Got, e.Answer = Allowed, prize
	}
	for _, c := range all { // nobody accounts for them
		err = errors.Join(err, t.Vault.RevokeCertificate(ctx, c.ca, c.certificate))
	}
	return e, err
}

// attackInitToken steals one, lets one expire.
func (t *Target) attackInitToken(ctx context.Context, own, other provider.Machine, here, there *vault.Client) ([]Evidence, error) {
	stolen, err := t.Vault.IssueInitToken(ctx, own.Name, time.Minute)
	if err != nil {
		return nil, err
	}
	c, _, err := there.LoginMachine(ctx, own.Name, stolen)
	if err == nil {
		_ = c.RevokeSelf(ctx)
	}
	theft, err := refusal("use a stolen init token on another machine", other.Name, own.Name, Refused, err)
	if err != nil {
		return nil, err
	}
	expired, err := t.Vault.IssueInitToken(ctx, own.Name, time.Second)
	if err != nil {
		return nil, err
	}
	select { // the passing of time is what is tried
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(1500 * time.Millisecond):
	}
	c, _, err = here.LoginMachine(ctx, own.Name, expired)
	if err == nil {
		_ = c.RevokeSelf(ctx)
	}
	late, err := refusal("use an init token of one second after it", own.Name, own.Name, Refused, err)
	return []Evidence{theft, late}, err
}

// refusal makes evidence of an error of Vault's client: only Vault's own no is a refusal.
func refusal(what, from, as string, want Expectation, err error) (Evidence, error) {
	var answer *vault.Error
	if err != nil && (!errors.As(err, &answer) || answer.Status != http.StatusForbidden && answer.Status != http.StatusBadRequest) {
		return Evidence{}, fmt.Errorf("%s: %w", what, err)
	}
	return attempt(what, from, as, want, err), nil
}

// attackMachineToken tries what a machine that was broken into would.
func (t *Target) attackMachineToken(ctx context.Context, own, other provider.Machine, machine *vault.Client) ([]Evidence, error) {
	csr, err := pkiRequest()
	if err != nil {
		return nil, err
	}
	kubelet := func(change func(*unit.Profile)) error {
		p := kubeletProfile(own.Name)
		change(&p)
		cert, err := machine.Sign(ctx, p, csr)
		if err == nil {
			err = t.Vault.RevokeCertificate(ctx, p.CA, cert.Chain) // nobody accounts for it
		}
		return err
	}
	foreign := unit.Profile{Name: "kube-apiserver", CA: unit.CAEtcdKubernetes, CommonName: "kube-apiserver"}
	var out []Evidence
	for _, a := range []struct {
		what string
		want Expectation
		do   func() error
	}{
		{"sign its own kubelet certificate", Allowed, func() error { return kubelet(func(*unit.Profile) {}) }},
		{"sign another machine's name", Refused, func() error {
			return kubelet(func(p *unit.Profile) { p.CommonName = "system:node:" + other.Name })
		}},
		{"sign with an additional DNS name", Refused, func() error {
			return kubelet(func(p *unit.Profile) { p.DNSNames = []string{"kubernetes"} })
		}},
		{"sign another role's profile", Refused, func() error { _, err := machine.Sign(ctx, foreign, csr); return err }},
		{"read its own desired document", Allowed, func() error {
			_, err := machine.ReadDocument(ctx, own.Name, vault.Desired, &struct{}{})
			return err
		}},
		{"read another machine's desired document", Refused, func() error {
			_, err := machine.ReadDocument(ctx, other.Name, vault.Desired, &struct{}{})
			return err
		}},
	} {
		e, err := refusal(a.what, own.Name, own.Name, a.want, a.do())
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	more, err := t.attackRaw(ctx, own, machine.Token(), csr)
	return append(out, more...), err
}

// attackRaw sends what no client of ours would.
func (t *Target) attackRaw(ctx context.Context, own provider.Machine, token, csr string) ([]Evidence, error) {
	sign := vault.PKIPath(t.Desired.Cluster, unit.CAKubernetes) + "/sign/kubelet"
	request := func(extra map[string]any) map[string]any {
		body := map[string]any{"csr": csr, "common_name": "system:node:" + own.Name, "exclude_cn_from_sans": true}
		for k, v := range extra {
			body[k] = v
		}
		return body
	}
	var out []Evidence
	for _, a := range []struct {
		what, path string
		body       map[string]any
	}{
		{"sign with an additional address", sign, request(map[string]any{"ip_sans": "127.0.0.1"})},
		{"sign with an additional organisation", sign, request(map[string]any{"organization": "system:masters"})},
		{"sign for ten years", sign, request(map[string]any{"ttl": "87600h"})},
		{"have Vault make a key", vault.PKIPath(t.Desired.Cluster, unit.CAKubernetes) + "/issue/kubelet", request(nil)},
		{"create a token", "auth/token/create", map[string]any{}},
		{"issue an init token for itself", vault.AppRolePath(t.Desired.Cluster, own.Name) + "/secret-id", map[string]any{}},
	} {
		status, err := t.vaultAnswer(ctx, own.Name, token, http.MethodPut, a.path, a.body)
		if err != nil {
			return nil, err
		}
		e, err := vaultVerdict(a.what, own.Name, own.Name, Refused, status)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// pkiRequest is a CSR for a key that is thrown away.
func pkiRequest() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(cryptorand.Reader, &x509.CertificateRequest{}, key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
}
