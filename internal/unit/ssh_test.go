package unit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// sshd is the unit of a machine.
func sshd(t *testing.T, d unit.Desired, machine string) unit.Unit {
	t.Helper()
	u, ok := find(unit.For(on(d, machine)), "sshd")
	if !ok {
		t.Fatalf("%s has no sshd", machine)
	}
	return u
}

// TestSSHDConfig has sshd itself read what it is told, and say what it made of it.
func TestSSHDConfig(t *testing.T) {
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		t.Skip("this host has no sshd: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // which sshd wants to see even to read its configuration
		t.Skip(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{{"-q", "-t", "ed25519", "-N", "", "-f", key}, {"-q", "-s", key, "-h", "-I", "x", "-n", "x", key + ".pub"}} {
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, m := range ssh.Machines {
		for _, user := range []string{"root", unit.JumpUser} {
			content := strings.ReplaceAll(file(sshd(t, ssh, m.Name), "/etc/ssh/sshd_config").Content, unit.SSHHostKey, key)
			config := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("/usr/sbin/sshd", "-T", "-f", config, "-C", "user="+user+",host=x,addr=10.0.0.1").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", m.Name, err, out)
			}
			forwarding := "no"
			if m.Role == v1alpha1.RoleBastion && user == unit.JumpUser {
				forwarding = "local"
			}
			for _, line := range []string{"passwordauthentication no", "kbdinteractiveauthentication no", "usepam no", "authorizedkeysfile none",
				"permitrootlogin without-password", "loglevel VERBOSE", "allowtcpforwarding " + forwarding, "strictmodes yes"} {
				if !strings.Contains("\n"+string(out), "\n"+line+"\n") {
					t.Errorf("%s for %s: no %q", m.Name, user, line)
				}
			}
			if opens := strings.Contains(string(out), "\npermitopen any\n"); opens == (forwarding == "local") {
				t.Errorf("%s for %s may forward anywhere: %t", m.Name, user, opens)
			}
		}
	}
}

// TestRevokedKeys has OpenSSH read the list.
func TestRevokedKeys(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("this host has no ssh-keygen")
	}
	d := ssh
	d.Revoked = []unit.Revocation{{User: "mallory", At: time.Unix(1, 0)}, {User: "eve", At: time.Unix(2, 0)}, {User: "eve", At: time.Unix(3, 0)}, {CA: unit.CAKubernetes, Serial: "01:02"}}
	for revoked, want := range map[string][]string{"": nil, "eve mallory": {"ssh-users-eve", "ssh-users-mallory", "ssh-robots-eve", "ssh-robots-mallory"}} {
		with := d
		if revoked == "" {
			with.Revoked = nil
		}
		list := filepath.Join(t.TempDir(), "krl")
		if err := os.WriteFile(list, []byte(file(sshd(t, with, "bastion-0"), "/etc/ssh/revoked.krl").Content), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ssh-keygen", "-Q", "-l", "-f", list).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.Count(string(out), "\nid: "); got != len(want) {
			t.Errorf("%d are revoked, want %v:\n%s", got, want, out)
		}
		for _, id := range want {
			if !strings.Contains(string(out), "\nid: "+id+"\n") {
				t.Errorf("%s is not revoked:\n%s", id, out)
			}
		}
	}
}

// Where there is no bastion, nobody listens.
func TestNoBastionNoSSHD(t *testing.T) {
	d := ssh
	d.SSH = nil
	for _, m := range d.Machines {
		if _, ok := find(unit.For(on(d, m.Name)), "sshd"); ok {
			t.Errorf("%s has an sshd", m.Name)
		}
	}
	for _, m := range ssh.Machines {
		sshd(t, ssh, m.Name)
	}
}

// TestEndSessions: the bastion ends what users have open who were revoked, once for each revocation, and no other machine does.
func TestEndSessions(t *testing.T) {
	d := ssh
	d.Revoked = []unit.Revocation{{User: "alice", At: noon}, {User: "alice", At: noon}, {User: "bob", At: noon.Add(-time.Hour)}}
	u, is := find(unit.For(on(d, "bastion-0")), unit.Sever)
	if got := strings.Join(u.Args[1:], " "); !is || !u.Once || got != "ssh-end --id=ssh-robots-alice --id=ssh-robots-bob --id=ssh-users-alice --id=ssh-users-bob" || len(u.Files) != 1 {
		t.Errorf("it is %+v", u)
	}
	d.Revoked[0].At = noon.Add(time.Second)
	if again, _ := find(unit.For(on(d, "bastion-0")), unit.Sever); again.Digest() == u.Digest() {
		t.Error("a second revocation ends nothing")
	}
	if _, is := find(unit.For(on(d, "worker-0")), unit.Sever); is {
		t.Error("a worker ends sessions")
	}
	d.Revoked = nil
	if _, is := find(unit.For(on(d, "bastion-0")), unit.Sever); is {
		t.Error("sessions end without a revocation")
	}
}
