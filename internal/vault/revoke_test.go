package vault

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/unit"
)

// TestRevokeProvider: the operator ends the sessions of somebody from the provider, and nobody else's of the same name.
func TestRevokeProvider(t *testing.T) {
	c := startCluster(t)
	p := startOpenID(t)
	c.declare(p.declared())
	c.asRoot(func(root *Client) error {
		return errors.Join(root.SetProviderSecret(c.ctx, *p.declared(), p.secret), root.SetPerson(c.ctx, Person{Name: "alice"}, "correct horse"))
	})
	from := func(name string) *Client {
		t.Helper()
		p.sits(map[string]any{"preferred_username": name})
		session, _, err := c.login(p)
		c.must(err)
		return session
	}
	first, second, bob := from("alice"), from("alice"), from("bob")
	own, _, err := c.anonymous.LoginPerson(c.ctx, "alice", "correct horse")
	c.must(err)
	if ended, err := c.operator.EndProviderTokens(c.ctx, "alice"); err != nil || ended != 2 {
		t.Errorf("%d sessions ended (%v), want 2", ended, err)
	}
	for what, s := range map[string]struct {
		*Client
		ended bool
	}{"alice": {first, true}, "alice again": {second, true}, "bob": {bob, false}, "another alice": {own, false}} {
		if _, _, err := s.Identity(c.ctx); errors.Is(err, ErrDenied) != s.ended {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRevoke: the operator shuts a machine and a robot out without the unseal key, and cannot let them in again; Vault's log has the
// revocation with its serial, and the layout agrees once it knows.
func TestRevoke(t *testing.T) {
	c := startCluster(t)
	machine := c.enrol("worker-0", fromA)
	csr, _ := newCSR(t)
	p := profile(t, unit.CAKubernetes, "kubelet").For("worker-0")
	cert, err := machine.Sign(c.ctx, p, csr)
	c.must(err)
	var secret string
	c.asRoot(func(root *Client) (err error) {
		secret, err = root.RobotSecret(c.ctx, "ci", false)
		return err
	})
	robot := c.client(fromRobot, "")
	session, _, err := robot.LoginRobot(c.ctx, "ci", secret)
	c.must(err)

	c.must(c.operator.RevokeCertificate(c.ctx, p.CA, cert.Chain))
	ended, err := c.operator.ShutOutMachine(c.ctx, "worker-0")
	c.must(err)
	if ended != 1 {
		t.Errorf("%d tokens of the machine ended, want 1", ended)
	}
	if _, err := machine.ReadDocument(c.ctx, "worker-0", Desired, &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("a machine that is shut out reads its document: %v", err)
	}
	again, err := c.operator.IssueInitToken(c.ctx, "worker-0", time.Minute)
	c.must(err)
	if _, _, err := c.client(fromA, "").LoginMachine(c.ctx, "worker-0", again); err == nil {
		t.Error("a machine that is shut out logs in with another init token")
	}
	if _, err := c.operator.ShutOutRobot(c.ctx, "ci"); err != nil {
		t.Error(err)
	}
	if _, _, err := session.Identity(c.ctx); !errors.Is(err, ErrDenied) {
		t.Errorf("a robot that is shut out: %v", err)
	}
	for path, body := range map[string]Fields{
		"identity/entity/name/demo-worker-0":        {"disabled": false},
		robotEntityPath("demo", "ci"):               {"disabled": false},
		"identity/entity/name/demo-control-plane-0": {"disabled": true, "policies": []string{"root"}},
		"identity/entity/name/demo-worker-1":        {"metadata": map[string]string{"machine": "control-plane-0"}},
	} {
		if err := c.operator.put(c.ctx, path, body, nil); !errors.Is(err, ErrDenied) {
			t.Errorf("the operator writes %v to %s: %v", body, path, err)
		}
	}
	if _, err := c.operator.ShutOutPerson(c.ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody who is not there: %v", err)
	}
	if n, err := c.operator.ShutOutMachine(c.ctx, "worker-9"); n != 0 || err != nil {
		t.Errorf("a machine that Vault does not know: %d, %v", n, err)
	}

	// Also once the log is gone, by its serial number in any spelling.
	for _, spelt := range []string{cert.Serial, strings.ToUpper(strings.ReplaceAll(cert.Serial, ":", ""))} {
		if text, err := c.operator.StoredCertificate(c.ctx, p.CA, spelt); err != nil || strings.TrimSpace(text) != strings.TrimSpace(cert.Chain) {
			t.Errorf("the certificate with the serial %s is %q, %v", spelt, text, err)
		}
	}
	for _, none := range []string{"00:11:22", "nonsense", ""} {
		if _, err := c.operator.StoredCertificate(c.ctx, p.CA, none); !errors.Is(err, ErrNotFound) {
			t.Errorf("a certificate with the serial %q: %v", none, err)
		}
	}

	list := unit.Revoked{Machines: []unit.ShutOut{{Name: "worker-0"}}, Users: []unit.ShutOut{{Name: "ci"}}}
	c.must(c.operator.WriteRevoked(c.ctx, 0, list))
	if err := c.operator.WriteRevoked(c.ctx, 0, list); !errors.Is(err, ErrConflict) {
		t.Errorf("an older list replaces a newer one: %v", err)
	}
	if len(c.drift()) != 2 {
		t.Errorf("a layout that knows of no revocation: %v", c.drift())
	}
	c.input.Revoked, _, err = c.operator.Revoked(c.ctx)
	c.must(err)
	c.want = Layout(c.input)
	if d := c.drift(); len(d) > 0 {
		t.Errorf("what is shut out is drift: %v", d)
	}
	c.asRoot(func(root *Client) error { return root.EnableRobot(c.ctx, "ci") })
	if _, _, err := robot.LoginRobot(c.ctx, "ci", secret); err == nil {
		t.Error("a robot that was let in again uses the secret of before")
	}

	// What Vault wrote down is what the audit reads.
	lines, err := os.ReadFile(filepath.Join(c.dir, "audit-1.log"))
	c.must(err)
	events := audit.Events("demo", lines)
	block, _ := pem.Decode([]byte(cert.Chain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	c.must(err)
	found := map[audit.Kind]audit.Event{}
	for _, e := range (audit.Filter{Serial: cert.Serial}).Select(events) {
		found[e.Kind] = e
	}
	if i := found[audit.Issued]; i.Who != "worker-0" || i.Person || i.From != fromA || i.Profile != p.Name || i.CA != p.CA || i.Name != p.CommonName ||
		i.Serial != cert.Serial || i.NotAfter == nil || !i.NotAfter.Equal(leaf.NotAfter) || i.Certificate == "" {
		t.Errorf("the issuance is %+v", i)
	}
	if r := found[audit.Revoked]; r.Who != Operator || r.From != fromOperator || r.Refused != "" {
		t.Errorf("the revocation is %+v", r)
	}
	robots := audit.Filter{User: "ci"}.Select(events)
	if len(robots) == 0 || robots[0].Kind != audit.Login || robots[0].From != fromRobot {
		t.Errorf("the robot's events are %+v", robots)
	}
	if made := (audit.Filter{}).Select(events); len(made) == 0 || made[0].Kind != audit.CA || made[0].Who != "root" {
		t.Errorf("the first events are not the making of CAs: %+v", made[:min(3, len(made))])
	}
	k := audit.Known{Machines: c.input.Machines, Operator: Operator, OperatorAddress: fromOperator, Now: time.Now()}
	for _, e := range audit.Account(events, k) {
		if e.Flag != "" {
			t.Errorf("flagged although it was revoked, or made by root: %+v", e)
		}
	}
}
