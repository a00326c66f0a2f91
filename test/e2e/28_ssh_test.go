package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// TestSSH declares a bastion, comes through it as the operator and as a user, and tries all that must not work.
func TestSSH(t *testing.T) {
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(was)
	if !strings.Contains(text, "role: bastion") {
		text = strings.Replace(text, "  pools:\n", "  exposure: {trustedCIDRs: [198.51.100.0/24]}\n  pools:\n  - {name: bastion, role: bastion, count: 1}\n", 1)
	}
	text += "  ssh:\n  - {group: on-call, roles: [worker]}\n"
	text += "  authentication: {robots: [{name: sshbot, groups: [on-call], cidrs: [10.90.0.1/32]}, {name: sshidle, cidrs: [10.90.0.1/32]}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, was, 0o600); err != nil {
			t.Error(err)
		}
		ashlar(t, "up")
	})
	ashlar(t, "up")
	s := &sshTest{T: t, cluster: open(t), target: target(t)}
	for _, m := range s.target.Machines {
		switch m.Role {
		case v1alpha1.RoleBastion:
			s.bastion = m
		case v1alpha1.RoleWorker:
			s.workers = append(s.workers, m)
		case v1alpha1.RoleControlPlane:
			s.controlPlane = m
		}
	}
	t.Run("comes in", s.comesIn)
	t.Run("the network", s.network)
	t.Run("credentials", s.credentials)
	t.Run("forwarding", s.forwarding)
	t.Run("users", s.users)
	t.Run("robots", s.robots)
	t.Run("host keys", s.hostKeys)
}

type sshTest struct {
	*testing.T
	cluster               *phase.Cluster
	target                *claim.Target
	bastion, controlPlane provider.Machine
	workers               []provider.Machine
}

// comesIn runs commands on a machine of each role.
func (s *sshTest) comesIn(t *testing.T) {
	seen := map[v1alpha1.Role]bool{}
	for _, m := range s.target.Machines {
		if seen[m.Role] {
			continue
		}
		seen[m.Role] = true
		began := time.Now()
		out, code := try("-f", file, "ssh", m.Name, "--", "hostname; id -u; exit 7")
		if code != 7 || out != m.Name+"\n0\n" {
			t.Errorf("%s: exit %d\n%s", m.Name, code, out)
		}
		t.Logf("%s: %d ms", m.Name, time.Since(began).Milliseconds())
	}
	if out, code := tryWith("a\nb\n", "-f", file, "ssh", s.workers[0].Name, "--", "cat; echo to stderr >&2"); code != 0 || out != "a\nb\nto stderr\n" {
		t.Errorf("what goes in does not come out: exit %d\n%s", code, out)
	}
	if out, code := try("-f", file, "ssh", "nobody-0"); code != 64 || !strings.Contains(out, "no machine") {
		t.Errorf("a machine that there is not: exit %d\n%s", code, out)
	}
	left, err := filepath.Glob(filepath.Join(s.cluster.Dir, "*ssh*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// network: nobody reaches an sshd but from where it is declared.
func (s *sshTest) network(t *testing.T) {
	public := address(s.bastion.Public.String())
	for _, test := range []struct {
		from, to string
		open     bool
	}{
		{provider.FromTrusted, public, true},
		{provider.FromInternet, public, false},
		{provider.FromOperator, address(s.bastion.Address.String()), false},
		{provider.FromOperator, address(s.workers[0].Address.String()), false},
		{provider.FromTrusted, address(s.workers[0].Address.String()), false},
		{s.workers[1].Name, address(s.workers[0].Address.String()), false},
		{s.controlPlane.Name, address(s.workers[0].Address.String()), false},
		{s.workers[0].Name, address(s.bastion.Address.String()), false},
		{s.bastion.Name, address(s.workers[0].Address.String()), true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		conn, err := s.target.Provider.Dial(ctx, test.from, "tcp", test.to)
		cancel()
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != test.open {
			t.Errorf("from %s to %s: %v, want open %t", test.from, test.to, err, test.open)
		}
	}
}

func address(host string) string { return net.JoinHostPort(host, fmt.Sprint(unit.PortSSH)) }

// enter logs in as user to a machine's sshd, reached from the bastion as what goes through it, and runs a command.
func (s *sshTest) enter(m provider.Machine, user string, auth ...ssh.AuthMethod) error {
	c, err := s.client(m, user, auth...)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	session, err := c.NewSession()
	if err != nil {
		return err
	}
	return session.Run("true")
}

func (s *sshTest) client(m provider.Machine, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	from, to := s.bastion.Name, address(m.Address.String())
	if m.Name == s.bastion.Name {
		from, to = provider.FromTrusted, address(m.Public.String())
	}
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	conn, err := s.target.Provider.Dial(ctx, from, "tcp", to)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address(m.Name), &ssh.ClientConfig{User: user, Auth: auth, HostKeyCallback: s.hostKeyOf,
		HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01}})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// hostKeyOf takes a host key that the CA has signed.
func (s *sshTest) hostKeyOf(name string, remote net.Addr, key ssh.PublicKey) error {
	checker := ssh.CertChecker{IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
		return string(ssh.MarshalAuthorizedKey(ca)) == s.target.Desired.SSH.HostCA
	}}
	return checker.CheckHostKey(name, remote, key)
}

// shown is a key with its certificate, if it has one.
func (s *sshTest) shown(t *testing.T, p sshkey.Pair) ssh.AuthMethod {
	t.Helper()
	key, err := ssh.ParsePrivateKey([]byte(p.Private))
	if err != nil {
		t.Fatal(err)
	}
	if p.Certificate != "" {
		public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.Certificate))
		if err != nil {
			t.Fatal(err)
		}
		if key, err = ssh.NewCertSigner(public.(*ssh.Certificate), key); err != nil {
			t.Fatal(err)
		}
	}
	return ssh.PublicKeys(key)
}

func (s *sshTest) access(t *testing.T, machine, user string) sshkey.Pair {
	t.Helper()
	a, err := s.cluster.SSH(t.Context(), machine, user)
	if err != nil {
		t.Fatal(err)
	}
	return a.Pair
}

// credentials: nothing is let in but a certificate of Vault's for this very machine, while it is good.
func (s *sshTest) credentials(t *testing.T) {
	w, other := s.workers[0], s.workers[1]
	good := s.access(t, w.Name, "")
	if err := s.enter(w, "root", s.shown(t, good)); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	bare := good
	bare.Certificate = ""
	foreign := s.access(t, w.Name, "")
	foreign.Certificate = s.signedBySomebody(t, foreign, w.Name)
	expired := s.access(t, w.Name, "")
	expired.Certificate = s.signedForAMoment(t, expired, w.Name)
	for what, test := range map[string]struct {
		machine provider.Machine
		user    string
		auth    ssh.AuthMethod
	}{
		"no certificate":                    {w, "root", s.shown(t, bare)},
		"one of another CA":                 {w, "root", s.shown(t, foreign)},
		"one for another machine":           {other, "root", s.shown(t, good)},
		"one for another machine (bastion)": {s.bastion, "root", s.shown(t, good)},
		"an expired one":                    {w, "root", s.shown(t, expired)},
		"another account":                   {w, "nobody", s.shown(t, good)},
		"a password":                        {w, "root", ssh.Password("password")},
		"a password, typed":                 {w, "root", ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return []string{"password"}, nil })},
		"a password, at the bastion":        {s.bastion, unit.JumpUser, ssh.Password("password")},
	} {
		if err := s.enter(test.machine, test.user, test.auth); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func (s *sshTest) signedBySomebody(t *testing.T, p sshkey.Pair, machine string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.Public))
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, KeyId: "operator", ValidPrincipals: []string{machine}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(cert))
}

// signedForAMoment has Vault sign for a second, which takes a root token, and returns when that is over.
func (s *sshTest) signedForAMoment(t *testing.T, p sshkey.Pair, machine string) string {
	t.Helper()
	var out struct {
		Data struct {
			Key string `json:"signed_key"`
		}
	}
	err := s.cluster.WithPeople(t.Context(), func(root *vault.Client) error {
		v := s.target.Desired.WithRole(v1alpha1.RoleVault)[0]
		body, err := json.Marshal(map[string]any{"public_key": p.Public, "cert_type": "user", "valid_principals": machine, "ttl": "1s"})
		if err != nil {
			return err
		}
		url := fmt.Sprintf("https://%s:%d/v1/%s/sign/%s", v.Address, unit.PortVault, vault.SSHPath(s.target.Desired.Cluster, vault.SSHUsers), vault.Operator)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Vault-Token", root.Token())
		res, err := clientFrom(s.target, provider.FromOperator, unit.CAVault, v.Name, nil, true).Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&out)
	})
	if err != nil || out.Data.Key == "" {
		t.Fatalf("Vault signed nothing: %v", err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(out.Data.Key))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if time.Now().Unix() <= int64(public.(*ssh.Certificate).ValidBefore) {
			return errors.New("it is still good")
		}
		return nil
	})
	return out.Data.Key
}

// forwarding: the bastion passes on what goes to an sshd, and nothing else; other machines pass on nothing.
func (s *sshTest) forwarding(t *testing.T) {
	w := s.workers[0]
	through, err := s.client(s.bastion, unit.JumpUser, s.shown(t, s.access(t, w.Name, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = through.Close() }()
	conn, err := through.Dial("tcp", address(w.Address.String()))
	if err != nil {
		t.Fatalf("through the bastion to a machine: %v", err)
	}
	_ = conn.Close()
	v := s.target.Desired.WithRole(v1alpha1.RoleVault)[0]
	for _, to := range []string{
		fmt.Sprintf("%s:%d", v.Address, unit.PortVault), // which the bastion itself may connect to
		fmt.Sprintf("%s:%d", s.controlPlane.Address, unit.PortAPIServer), w.Name + ":22", "localhost:22", "203.0.113.1:22"} {
		if conn, err := through.Dial("tcp", to); err == nil {
			_ = conn.Close()
			t.Errorf("the bastion forwards to %s", to)
		}
	}
	if l, err := through.Listen("tcp", "0.0.0.0:8080"); err == nil {
		_ = l.Close()
		t.Error("the bastion listens for others")
	}
	if session, err := through.NewSession(); err == nil {
		_ = session.Close()
		t.Error("the bastion gives who goes through it a session")
	}
	root, err := s.client(w, "root", s.shown(t, s.access(t, w.Name, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if conn, err := root.Dial("tcp", fmt.Sprintf("%s:%d", v.Address, unit.PortVault)); err == nil {
		_ = conn.Close()
		t.Error("a worker forwards")
	}
}

// users: one who is in the group comes in under their own name, in Vault's log and in sshd's, until they are revoked.
func (s *sshTest) users(t *testing.T) {
	for _, u := range []struct{ name, group string }{{"sshalice", "on-call"}, {"sshbob", "developers"}} {
		if out, code := tryWith("correct horse battery staple\n", "-f", file, "user", "set", u.name, "--group", u.group, "--password-stdin"); code != 0 {
			t.Fatalf("user set: exit %d\n%s", code, out)
		}
		t.Cleanup(func() { ashlar(t, "user", "remove", u.name) })
		if out, code := tryWith("correct horse battery staple\n", "-f", file, "login", u.name, "--password-stdin"); code != 0 {
			t.Fatalf("login: exit %d\n%s", code, out)
		}
	}
	w := s.workers[0]
	if out, code := try("-f", file, "ssh", "--user", "sshalice", w.Name, "--", "hostname"); code != 0 || out != w.Name+"\n" {
		t.Fatalf("exit %d\n%s", code, out)
	}
	id := unit.SSHKeyID(s.target.Desired.Cluster, "sshalice")
	said := regexp.MustCompile(`Accepted publickey for root .* ID ` + id + ` \(serial ([0-9]+)\)`).FindStringSubmatch(ashlar(t, "logs", w.Name, "sshd"))
	if said == nil {
		t.Fatalf("sshd on %s does not name %s:\n%s", w.Name, id, ashlar(t, "logs", w.Name, "sshd"))
	}
	if out, code := try("-f", file, "pki", "audit", "--user", "sshalice", "-o", "json"); code != 0 || !strings.Contains(out, `"serial": "`+said[1]+`"`) {
		t.Errorf("exit %d: Vault's log does not have the serial %s:\n%s", code, said[1], out)
	}
	for _, test := range [][]string{{"sshalice", s.controlPlane.Name, "lets no group enter"}, {"sshbob", w.Name, "only who is in on-call"}, {"sshcarol", w.Name, "not logged in"}} {
		if out, code := try("-f", file, "ssh", "-l", test[0], test[1], "--", "true"); code != 1 || !strings.Contains(out, test[2]) {
			t.Errorf("%v: exit %d\n%s", test, code, out)
		}
	}
	got := s.access(t, w.Name, "sshalice")
	if c, err := s.client(s.bastion, unit.JumpUser, s.shown(t, got)); err != nil {
		t.Fatal(err)
	} else {
		_ = c.Close()
	}
	hers, ours := s.shellOn(t, w.Name, "sshalice"), s.shellOn(t, w.Name, "")
	if err := errors.Join(hers.says("hers\n"), ours.says("ours\n")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ashlar(t, "pki", "revoke", "--user", "sshalice", "--reason", "test")
	eventually(t, claim.RefusedWithin, func() error {
		if hers.says("still\n") == nil {
			return errors.New("a revoked user's session goes on")
		}
		return nil
	})
	t.Logf("her session ended %.1f s after the revocation began", time.Since(began).Seconds())
	if err := ours.says("still\n"); err != nil {
		t.Errorf("another's session ended with hers: %v", err)
	}
	eventually(t, claim.RefusedWithin, func() error {
		c, err := s.client(s.bastion, unit.JumpUser, s.shown(t, got))
		if err == nil {
			_ = c.Close()
			return errors.New("a revoked user's certificate still opens the bastion")
		}
		return nil
	})
	t.Logf("refused %.1f s after the revocation", time.Since(began).Seconds())
	if out, code := try("-f", file, "ssh", "-l", "sshalice", w.Name, "--", "true"); code != 1 {
		t.Errorf("a revoked user gets a certificate: exit %d\n%s", code, out)
	}
	if out, code := try("-f", file, "ssh", w.Name, "--", "true"); code != 0 {
		t.Errorf("the operator with her: exit %d\n%s", code, out)
	}
}

// hostKeys: one that is damaged is made anew, and its sshd told.
func (s *sshTest) hostKeys(t *testing.T) {
	w := s.workers[0].Name
	ashlar(t, "exec", w, "--", "rm", unit.SSHHostKey)
	eventually(t, time.Minute, func() error {
		if out, code := try("-f", file, "exec", w, "--", "test", "-s", unit.SSHHostKey); code != 0 {
			return errorString(out)
		}
		if out, code := try("-f", file, "ssh", w, "--", "true"); code != 0 {
			return errorString(out)
		}
		return nil
	})
}
