package vault

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
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
