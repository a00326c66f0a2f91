package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// publicKey is that of a new key, as OpenSSH writes it.
func publicKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return openSSH(t, public)
}

func openSSH(t *testing.T, public any) string {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

func sshCertificate(t *testing.T, text string) *ssh.Certificate {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ssh.Certificate)
}

// TestSSHHostKeys: a machine has its own host key signed, and nothing else.
func TestSSHHostKeys(t *testing.T) {
	c := startCluster(t)
	worker := c.enrol("worker-0", fromA)
	key := publicKey(t)
	text, err := worker.SignHostKey(c.ctx, SSHHosts, key, "worker-0")
	c.must(err)
	cert := sshCertificate(t, text)
	life := time.Duration(cert.ValidBefore-cert.ValidAfter) * time.Second
	if cert.CertType != ssh.HostCert || !slices.Equal(cert.ValidPrincipals, []string{"worker-0"}) || life > c.input.LeafTTL+time.Minute {
		t.Errorf("%+v", cert)
	}
	cas, err := c.operator.SSHCAs(c.ctx, FirstSSHEngines())
	c.must(err)
	if got := string(ssh.MarshalAuthorizedKey(cert.SignatureKey)); got != cas.HostCA || cas.HostCA == cas.UserCA {
		t.Errorf("signed by %s, the CAs are %+v", got, cas)
	}
	host, user := SSHPath("demo", SSHHosts)+"/sign/", SSHPath("demo", SSHUsers)+"/sign/"
	for what, try := range map[string]struct {
		path string
		body Fields
	}{
		"another's name":      {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": "worker-1"}},
		"another's as well":   {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": "worker-0,worker-1"}},
		"a name below its":    {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": "x.worker-0"}},
		"any name":            {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": ""}},
		"no name":             {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host"}},
		"a user's":            {host + sshMachineRole, Fields{"public_key": key, "cert_type": "user", "valid_principals": "worker-0"}},
		"a longer life":       {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": "worker-0", "ttl": "48h"}},
		"a key ID":            {host + sshMachineRole, Fields{"public_key": key, "cert_type": "host", "valid_principals": "worker-0", "key_id": "x"}},
		"as the operator":     {user + Operator, Fields{"public_key": key, "cert_type": "user", "valid_principals": "worker-0"}},
		"as of a group":       {user + sshGroupRole("on-call"), Fields{"public_key": key, "cert_type": "user", "valid_principals": "worker-0"}},
		"with a key of Vault": {strings.Replace(host, "/sign/", "/issue/", 1) + sshMachineRole, Fields{"cert_type": "host", "valid_principals": "worker-0"}},
	} {
		if err := worker.put(c.ctx, try.path, try.body, nil); err == nil {
			t.Errorf("a machine got a certificate for %s", what)
		}
	}
}

// TestSSHUsers: who is in a group that may enter gets a certificate of minutes under their own name, for a machine of that group's.
func TestSSHUsers(t *testing.T) {
	c := startCluster(t)
	c.asRoot(func(root *Client) error {
		return errors.Join(
			root.SetPerson(c.ctx, Person{Name: "alice", Groups: []string{"developers", "on-call"}}, "correct horse"),
			root.SetPerson(c.ctx, Person{Name: "bob", Groups: []string{"developers", "on-call-2"}}, "battery staple"))
	})
	alice, _, err := c.anonymous.LoginPerson(c.ctx, "alice", "correct horse")
	c.must(err)
	bob, _, err := c.anonymous.LoginPerson(c.ctx, "bob", "battery staple")
	c.must(err)
	key := publicKey(t)
	text, err := alice.SignUserKey(c.ctx, SSHUsers, "on-call", key, "worker-1")
	c.must(err)
	cert := sshCertificate(t, text)
	if life := time.Duration(cert.ValidBefore-cert.ValidAfter) * time.Second; life > SSHTTL+time.Minute {
		t.Errorf("it is good for %s", life)
	}
	if cert.CertType != ssh.UserCert || !slices.Equal(cert.ValidPrincipals, []string{unit.JumpUser, "worker-1"}) || cert.KeyId != unit.SSHKeyID("demo", "alice") || len(cert.CriticalOptions) > 0 {
		t.Errorf("%+v", cert)
	}
	text, err = c.operator.SignOperatorKey(c.ctx, SSHUsers, key, "vault-0")
	c.must(err)
	if cert := sshCertificate(t, text); cert.KeyId != Operator {
		t.Errorf("the operator is %q", cert.KeyId)
	}
	if _, err := bob.SignUserKey(c.ctx, SSHUsers, "on-call", key, "worker-0"); !errors.Is(err, ErrDenied) {
		t.Errorf("who is not in the group: %v", err)
	}
	if _, err := bob.SignOperatorKey(c.ctx, SSHUsers, key, "worker-0"); !errors.Is(err, ErrDenied) {
		t.Errorf("as the operator: %v", err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	c.must(err)
	rsaKey := openSSH(t, private.Public())
	sign := SSHPath("demo", SSHUsers) + "/sign/" + sshGroupRole("on-call")
	for what, body := range map[string]Fields{
		"another machine":  {"public_key": key, "cert_type": "user", "valid_principals": "vault-0"},
		"any machine":      {"public_key": key, "cert_type": "user", "valid_principals": "*"},
		"no principal":     {"public_key": key, "cert_type": "user"},
		"root":             {"public_key": key, "cert_type": "user", "valid_principals": "root"},
		"a host":           {"public_key": key, "cert_type": "host", "valid_principals": "worker-0"},
		"a longer life":    {"public_key": key, "cert_type": "user", "valid_principals": "worker-0", "ttl": "10m"},
		"another's name":   {"public_key": key, "cert_type": "user", "valid_principals": "worker-0", "key_id": "demo-users-bob"},
		"agent forwarding": {"public_key": key, "cert_type": "user", "valid_principals": "worker-0", "extensions": Fields{"permit-agent-forwarding": ""}},
		"an RSA key":       {"public_key": rsaKey, "cert_type": "user", "valid_principals": "worker-0"},
	} {
		if err := alice.put(c.ctx, sign, body, nil); err == nil {
			t.Errorf("alice got a certificate for %s", what)
		}
	}
}

// TestSSHDrift changes by hand what decides who gets in.
func TestSSHDrift(t *testing.T) {
	c := startCluster(t)
	users := SSHPath("demo", SSHUsers)
	c.asRoot(func(root *Client) error {
		evil := Fields{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*"}
		return errors.Join(
			root.put(c.ctx, users+"/roles/evil", evil, nil),
			root.put(c.ctx, users+"/roles/"+sshGroupRole("on-call"), evil, nil),
			root.remove(c.ctx, SSHPath("demo", SSHHosts)+"/config/ca"))
	})
	drifts := c.drift()
	if len(drifts) != 3 {
		t.Errorf("named: %v", drifts)
	}
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	if d := c.drift(); len(d) > 0 {
		t.Errorf("not repaired: %v", d)
	}
	// Without a bastion there is none of it.
	c.input.Machines = slices.DeleteFunc(c.input.Machines, func(m unit.Machine) bool { return m.Role == v1alpha1.RoleBastion })
	c.want = Layout(c.input)
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, c.drift()) })
	if d := c.drift(); len(d) > 0 {
		t.Errorf("left over: %v", d)
	}
	if _, err := c.operator.SignOperatorKey(c.ctx, SSHUsers, publicKey(t), "worker-0"); err == nil {
		t.Error("a certificate, though there is no bastion")
	}
}
