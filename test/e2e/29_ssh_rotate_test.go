package e2e

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

// onShared is what tests of ssh need of the shared cluster, which has a bastion.
func onShared(t *testing.T) *sshTest {
	t.Helper()
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
	return s
}

// shell is an open session that says what it is told.
type shell struct {
	in  io.WriteCloser
	out io.Reader
}

// shellOn opens one through the bastion.
func (s *sshTest) shellOn(t *testing.T, machine, user string) shell {
	t.Helper()
	a, err := s.cluster.SSH(t.Context(), machine, user)
	if err != nil {
		t.Fatal(err)
	}
	jump, err := s.client(s.bastion, unit.JumpUser, s.shown(t, a.Pair))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := jump.Dial("tcp", address(a.Machine.Address.String()))
	if err != nil {
		t.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address(machine), &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{s.shown(t, a.Pair)},
		HostKeyCallback: s.hostKeyOf, HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01}})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { _, _ = client.Close(), jump.Close() })
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var sh shell
	if sh.in, err = session.StdinPipe(); err == nil {
		sh.out, err = session.StdoutPipe()
	}
	if err == nil {
		err = session.Start("cat")
	}
	if err != nil {
		t.Fatal(err)
	}
	return sh
}

// says is an error if the session has ended.
func (s shell) says(what string) error {
	if _, err := io.WriteString(s.in, what); err != nil {
		return err
	}
	b := make([]byte, len(what))
	got := make(chan error, 1)
	go func() { _, err := io.ReadFull(s.out, b); got <- err }()
	select {
	case err := <-got:
		if err == nil && string(b) != what {
			err = errors.New("it says " + string(b))
		}
		return err
	case <-time.After(5 * time.Second):
		return errors.New("it says nothing")
	}
}

// robots come in where their groups may, and under names of their own.
func (s *sshTest) robots(t *testing.T) {
	for _, robot := range []string{"sshbot", "sshidle"} {
		secret := ashlar(t, "user", "robot-secret", robot)
		if out, code := tryWith(secret, "-f", file, "login", robot, "--robot", "--secret-stdin"); code != 0 {
			t.Fatalf("login: exit %d\n%s", code, out)
		}
	}
	w := s.workers[0]
	if out, code := try("-f", file, "ssh", "--user", "sshbot", w.Name, "--", "hostname"); code != 0 || out != w.Name+"\n" {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if out := ashlar(t, "logs", w.Name, "sshd"); !strings.Contains(out, " ID "+unit.SSHRobotID(s.target.Desired.Cluster, "sshbot")+" (serial ") {
		t.Errorf("sshd does not name the robot:\n%s", out)
	}
	for _, not := range [][]string{{"sshbot", s.controlPlane.Name}, {"sshidle", w.Name}} {
		if out, code := try("-f", file, "ssh", "--user", not[0], not[1], "--", "true"); code != 1 || !strings.Contains(out, "may not enter") {
			t.Errorf("%v: exit %d\n%s", not, code, out)
		}
	}
	open := s.shellOn(t, w.Name, "sshbot")
	ashlar(t, "pki", "revoke", "--user", "sshbot", "--reason", "test")
	eventually(t, claim.RefusedWithin, func() error {
		if open.says("still\n") == nil {
			return errors.New("a revoked robot's session goes on")
		}
		return nil
	})
	ashlar(t, "user", "enable", "sshbot")
}

// TestRotateSSH replaces both CAs of SSH while a session is open, which goes on; what the old ones signed is of no use afterwards.
func TestRotateSSH(t *testing.T) {
	if out, code := try("-f", file, "pki", "rotate", "ssh-user", "--plan"); code != 2 || !strings.Contains(out, "end by themselves") {
		t.Errorf("--plan: exit %d\n%s", code, out)
	}
	s := onShared(t)
	w := s.workers[0]
	before := *s.target.Desired.SSH
	old := s.access(t, w.Name, "")
	if err := s.enter(w, "root", s.shown(t, old)); err != nil {
		t.Fatalf("before: %v", err)
	}
	open := s.shellOn(t, w.Name, "")
	began := time.Now()
	out, code := tryFor(10*time.Minute, "-f", file, "pki", "rotate", "ssh-host", "ssh-user", "--now")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	t.Logf("in %s\n%s", time.Since(began).Round(time.Second), out)
	if err := open.says("still here\n"); err != nil {
		t.Errorf("the session that was open: %v", err)
	}
	after := onShared(t)
	now := after.target.Desired.SSH
	if now.HostCA == before.HostCA || now.UserCA == before.UserCA || strings.Count(now.HostCA+now.UserCA, "\n") != 2 {
		t.Errorf("the CAs were %+v and are %+v", before, now)
	}
	if err := after.enter(w, "root", after.shown(t, old)); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("with a certificate of the old CA: %v", err)
	}
	if err := s.enter(w, "root", s.shown(t, after.access(t, w.Name, ""))); err == nil || !strings.Contains(err.Error(), "host") {
		t.Errorf("who trusts the old CA of host keys finds %s as before: %v", w.Name, err)
	}
	for _, m := range after.target.Machines {
		if out, code := try("-f", file, "ssh", m.Name, "--", "true"); code != 0 {
			t.Errorf("ssh %s: exit %d\n%s", m.Name, code, out)
		}
	}
	if out, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, out)
	}
	// Back and forth leaves what was.
	killedAt(t, "issue", "ssh-user", "--now")
	ashlar(t, "pki", "rotate", "--abort")
	if again := target(t).Desired.SSH; *again != *now {
		t.Errorf("taken back, the CAs are %+v, and were %+v", again, now)
	}
	if out, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, out)
	}
}
