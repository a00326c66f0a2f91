package claim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

var pkiAudit = Claim{
	ID:    "pki-audit",
	Says:  "Handles leasing, key revocation, key rolling, Audits CA events",
	Holds: "each login, issuance, revocation and change of a policy, also one refused, is in two audit logs with machine and serial, and no secret is; every certificate there is accounted for",
	Probe: probePKIAudit,
}

// trace is something that was done to be looked up.
type trace struct {
	what string
	// text is in its line of the log.
	text  string
	match func(logged) bool
}

func probePKIAudit(ctx context.Context, t *Target) ([]Evidence, error) {
	began := t.Now().Add(-time.Second) // a machine's clock may be a little behind
	traces, secrets, err := t.leaveTraces(ctx)
	if err != nil {
		return nil, err
	}
	var out []Evidence
	for _, device := range unit.AuditLogs {
		for _, d := range traces {
			log, err := t.vaultLog(ctx, device, d.text)
			if err != nil {
				return nil, err
			}
			out = append(out, lookUp(d, device, log, began))
		}
		leak, err := t.leaks(ctx, device, secrets)
		if err != nil {
			return nil, err
		}
		changed, err := t.policyWrites(ctx, device)
		if err != nil {
			return nil, err
		}
		out = append(append(out, leak), changed...)
	}
	strange, err := t.unaccounted(ctx)
	return append(out, strange), err
}

// unaccounted looks for a certificate that is good, and that no unit has.
func (t *Target) unaccounted(ctx context.Context) (Evidence, error) {
	e := Evidence{Attempt: "find a certificate in Vault's log that nobody accounts for", As: "root", Want: Refused, Got: Refused}
	events, err := t.Audit(ctx)
	good := 0
	for _, l := range events {
		if l.Alive(t.Now()) {
			good++
		}
		if l.Flag != "" && e.Held() {
			e.Got, e.Answer = Allowed, fmt.Sprintf("%s/%s %s, serial %s: %s", l.CA, l.Profile, l.Name, l.Serial, l.Flag)
		}
	}
	if err == nil && good == 0 {
		err = errors.New("the log has no certificate at all")
	}
	if e.Held() {
		e.Answer = fmt.Sprintf("%d are good, and are known", good)
	}
	return e, err
}

// lookUp finds a trace in a log.
func lookUp(d trace, device string, log []logged, began time.Time) Evidence {
	e := Evidence{Attempt: "look up " + d.what, From: device, As: "root", Want: Allowed, Got: Refused, Answer: "no line says so"}
	for _, l := range log {
		if l.Time.After(began) && d.match(l) {
			e.Got, e.Answer = Allowed, strings.TrimSpace(fmt.Sprintf("%s %s by %s from %s %s", l.Request.Operation, l.Request.Path, l.Machine(), l.Request.RemoteAddress, l.Serial()))
		}
	}
	return e
}

// leaveTraces logs in as a machine, has a certificate signed, attempts what is refused, and revokes all of it again.
func (t *Target) leaveTraces(ctx context.Context) ([]trace, []string, error) {
	own := t.Desired.WithRole(v1alpha1.RoleWorker)[0]
	here, err := t.vaultFrom(ctx, own.Name)
	if err != nil {
		return nil, nil, err
	}
	defer here.Close()
	initToken, err := t.Vault.IssueInitToken(ctx, own.Name, time.Minute)
	if err != nil {
		return nil, nil, err
	}
	machine, _, err := here.LoginMachine(ctx, own.Name, initToken)
	if err != nil {
		return nil, nil, err
	}
	cert, err := t.signAndRevoke(ctx, machine, own.Name)
	if err != nil {
		return nil, nil, errors.Join(err, machine.RevokeSelf(context.WithoutCancel(ctx)))
	}
	policy := "sys/policies/acl/" + vault.PolicyName(t.Desired.Cluster, own.Role)
	status, err := t.vaultAnswer(ctx, own.Name, machine.Token(), http.MethodPut, policy, map[string]any{"policy": `path "*" { capabilities = ["sudo"] }`})
	if err != nil || status != http.StatusForbidden {
		return nil, nil, errors.Join(fmt.Errorf("a machine that changes its own policy is answered %d", status), err, machine.RevokeSelf(context.WithoutCancel(ctx)))
	}
	if err := machine.RevokeSelf(ctx); err != nil {
		return nil, nil, err
	}
	serial, address := audit.PlainSerial(cert.Serial), own.Address.String()
	by := func(path string, refused bool) func(logged) bool {
		return func(l logged) bool {
			return l.Request.Path == path && l.Machine() == own.Name && l.Request.RemoteAddress == address && (l.Error != "") == refused
		}
	}
	signPath := vault.PKIPath(t.Desired.Cluster, unit.CAKubernetes) + "/sign/kubelet"
	login := "auth/" + vault.AuthPath(t.Desired.Cluster) + "/login"
	return []trace{
		{"the login of " + own.Name, login, by(login, false)},
		{"the issuance of a certificate", signPath, func(l logged) bool { return by(signPath, false)(l) && l.Serial() == serial }},
		{"the revocation of a certificate", "/revoke", func(l logged) bool {
			return strings.HasSuffix(l.Request.Path, "/revoke") && l.Error == "" && l.Machine() == vault.Operator && l.Serial() == serial
		}},
		{"a refused change of a policy", policy, by(policy, true)},
		{"the end of a token", "auth/token/revoke-self", by("auth/token/revoke-self", false)},
	}, []string{initToken, machine.Token()}, nil
}

// signAndRevoke has the machine obtain a certificate, which nobody will use, and the operator revoke it.
func (t *Target) signAndRevoke(ctx context.Context, machine *vault.Client, name string) (vault.Certificate, error) {
	csr, err := pkiRequest()
	if err != nil {
		return vault.Certificate{}, err
	}
	cert, err := machine.Sign(ctx, kubeletProfile(name), csr)
	if err != nil {
		return cert, err
	}
	return cert, t.Vault.RevokeCertificate(ctx, unit.CAKubernetes, cert.Chain)
}

// leaks looks for secrets in a log.
func (t *Target) leaks(ctx context.Context, device string, secrets []string) (Evidence, error) {
	e := Evidence{Attempt: "find an init token or a machine's token", From: device, As: "root", Want: Refused, Got: Refused, Answer: "neither is there in clear"}
	lines, err := t.vaultLogLines(ctx, device, secrets...)
	if len(lines) > 0 {
		e.Got, e.Answer = Allowed, "a line has it in clear"
	}
	return e, err
}

// policyWrites looks up who wrote the policies that are in force.
func (t *Target) policyWrites(ctx context.Context, device string) ([]Evidence, error) {
	log, err := t.vaultLog(ctx, device, `"path":"sys/policies/acl/`)
	var out []Evidence
	for _, role := range append([]v1alpha1.Role{unit.RoleOperator}, v1alpha1.Roles...) {
		path := "sys/policies/acl/" + vault.PolicyName(t.Desired.Cluster, role)
		e := Evidence{Attempt: "look up who wrote " + path, From: device, As: "root", Want: Allowed, Got: Refused, Answer: "no line says so"}
		for _, l := range log {
			if l.Request.Path == path && l.Error == "" && (l.Request.Operation == "update" || l.Request.Operation == "create") {
				e.Got, e.Answer = Allowed, fmt.Sprintf("policy %s from %s at %s", strings.Join(l.Auth.Policies, ","), l.Request.RemoteAddress, l.Time.Format(time.RFC3339))
			}
		}
		out = append(out, e)
	}
	return out, err
}

// kubeletProfile is what a worker's kubelet shows to the API.
func kubeletProfile(machine string) unit.Profile {
	for _, p := range unit.ProfilesOf(v1alpha1.RoleWorker) {
		if p.CA == unit.CAKubernetes && p.Name == "kubelet" {
			return p.For(machine)
		}
	}
	panic("claim: there is no profile kubelet") // a table of this program
}
