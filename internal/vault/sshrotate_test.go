package vault

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// TestSSHSuccessor: while there are two engines of a CA, whoever may have something signed may by both, and by the one that is left
// after that; the key of the other is gone.
func TestSSHSuccessor(t *testing.T) {
	c := startCluster(t)
	worker := c.enrol("worker-0", fromA)
	key := publicKey(t)
	arrange := func(engines SSHEngines) {
		t.Helper()
		c.input.SSHEngines = engines
		c.want = Layout(c.input)
		drifts := c.drift()
		for _, d := range drifts {
			if !d.AboutSSH() {
				t.Errorf("a successor is about something else, too: %s", d)
			}
		}
		c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
		if d := c.drift(); len(d) > 0 {
			t.Fatalf("not arranged: %v", d)
		}
	}
	sign := func(engine string) (user, host string) {
		t.Helper()
		text, err := c.operator.SignOperatorKey(c.ctx, engine, key, "worker-0")
		c.must(err)
		user = string(ssh.MarshalAuthorizedKey(sshCertificate(t, text).SignatureKey))
		text, err = worker.SignHostKey(c.ctx, strings.Replace(engine, SSHUsers, SSHHosts, 1), key, "worker-0")
		c.must(err)
		return user, string(ssh.MarshalAuthorizedKey(sshCertificate(t, text).SignatureKey))
	}
	both := SSHEngines{SSHUsers: {SSHUsers, "user-r-1"}, SSHHosts: {"host-r-1", SSHHosts}}
	arrange(both)
	oldUser, oldHost := sign(SSHUsers)
	newUser, newHost := sign("user-r-1")
	cas, err := c.operator.SSHCAs(c.ctx, both)
	c.must(err)
	if cas.UserCA != oldUser+newUser || cas.HostCA != newHost+oldHost || cas.HostEngine != "host-r-1" || oldUser == newUser || oldHost == newHost {
		t.Errorf("%+v, signed by %s and %s", cas, oldUser, newUser)
	}
	arrange(SSHEngines{SSHUsers: {"user-r-1"}, SSHHosts: {"host-r-1"}})
	if user, host := sign("user-r-1"); user != newUser || host != newHost {
		t.Error("the successor's key has changed")
	}
	if _, err := c.operator.SignOperatorKey(c.ctx, SSHUsers, key, "worker-0"); err == nil {
		t.Error("the predecessor still signs")
	}
	if _, err := worker.SignHostKey(c.ctx, "host-r-1", key, "worker-1"); err == nil {
		t.Error("the successor signs another's name")
	}
	// The same names again are other keys.
	arrange(nil)
	if user, host := sign(SSHUsers); user == oldUser || host == oldHost {
		t.Error("a key outlives its engine")
	}
}

// TestSSHRobots: a robot in a group that may enter gets a certificate under its own name, for machines of that group's; one that is in
// none gets nothing, and neither gets what the other does.
func TestSSHRobots(t *testing.T) {
	c := startCluster(t)
	c.input.Robots[0].Groups = append(c.input.Robots[0].Groups, "on-call")
	c.input.Robots = append(c.input.Robots, v1alpha1.Robot{Name: "other", Groups: []string{"deployers"}, CIDRs: []string{fromRobot + "/32"}})
	c.want = Layout(c.input)
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, c.drift()) })
	if d := c.drift(); len(d) > 0 {
		t.Fatalf("not arranged: %v", d)
	}
	sessions := map[string]*Client{}
	for _, name := range []string{"ci", "other"} {
		var secret string
		c.asRoot(func(root *Client) (err error) {
			secret, err = root.RobotSecret(c.ctx, name, false)
			return err
		})
		session, _, err := c.client(fromRobot, "").LoginRobot(c.ctx, name, secret)
		c.must(err)
		sessions[name] = session
	}
	key := publicKey(t)
	text, err := sessions["ci"].SignRobotKey(c.ctx, SSHUsers, "ci", key, "worker-0")
	c.must(err)
	if cert := sshCertificate(t, text); cert.KeyId != unit.SSHRobotID("demo", "ci") || !slices.Equal(cert.ValidPrincipals, []string{unit.JumpUser, "worker-0"}) {
		t.Errorf("%+v", cert)
	}
	if _, err := sessions["ci"].SignRobotKey(c.ctx, SSHUsers, "ci", key, "vault-0"); err == nil {
		t.Error("a robot enters a machine that its groups may not")
	}
	for _, name := range []string{"ci", "other"} {
		if _, err := sessions["other"].SignRobotKey(c.ctx, SSHUsers, name, key, "worker-0"); err == nil {
			t.Errorf("a robot in no group that may, as %s: %v", name, err)
		}
	}
	if _, err := sessions["ci"].SignUserKey(c.ctx, SSHUsers, "on-call", key, "worker-0"); !errors.Is(err, ErrDenied) {
		t.Errorf("a robot, as a user: %v", err)
	}
	c.asRoot(func(root *Client) error { return root.ReplaceSSHCA(c.ctx, SSHUsers) })
	again, err := sessions["ci"].SignRobotKey(c.ctx, SSHUsers, "ci", key, "worker-0")
	c.must(err)
	if string(sshCertificate(t, again).SignatureKey.Marshal()) == string(sshCertificate(t, text).SignatureKey.Marshal()) {
		t.Error("the CA that was replaced still signs")
	}
	mounts, err := c.operator.SSHMounts(c.ctx)
	c.must(err)
	if !slices.Equal(mounts, []string{SSHHosts, SSHUsers}) {
		t.Errorf("the engines are %v", mounts)
	}
}
