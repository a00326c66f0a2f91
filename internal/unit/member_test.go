package unit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// inCloud is the cluster with a bastion, whose workers are a group, as the pool's document has it.
func inCloud(pool string) unit.Desired {
	d := ssh
	d.Region, d.Self, d.Machines = "eu-west-1", pool, nil
	for _, m := range ssh.Machines {
		if m.Role != v1alpha1.RoleWorker {
			d.Machines = append(d.Machines, m)
		}
	}
	return d
}

// TestMemberLetsIn whoever has a certificate for it or for its pool, and no other pool's.
func TestMemberLetsIn(t *testing.T) {
	address := ssh.Machines[0].Address
	me := unit.Machine{Name: unit.MemberName("i-1", "eu-west-1"), Role: v1alpha1.RoleWorker, Address: address}
	d := inCloud("worker").As(me)
	u, ok := find(unit.For(d), "sshd")
	if !ok {
		t.Fatal("it has no sshd")
	}
	want := me.Name + "\n" + unit.PoolPrincipal("worker") + "\n"
	if got := file(u, "/etc/ssh/principals/root").Content; got != want {
		t.Errorf("it lets in %q, want %q", got, want)
	}
	again, _ := find(unit.For(d.As(me)), "sshd")
	if got := file(again, "/etc/ssh/principals/root").Content; got != want {
		t.Errorf("its own document, read as itself again: %q", got)
	}
	named, _ := find(unit.For(on(ssh, "vault-0")), "sshd")
	if got := file(named, "/etc/ssh/principals/root").Content; got != "vault-0\n" {
		t.Errorf("a machine with a name lets in %q", got)
	}
}

// TestBastionInCloud has sshd itself read whereto the bastion of a cloud forwards.
func TestBastionInCloud(t *testing.T) {
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		t.Skip("this host has no sshd: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Skip(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{{"-q", "-t", "ed25519", "-N", "", "-f", key}, {"-q", "-s", key, "-h", "-I", "x", "-n", "x", key + ".pub"}} {
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	config := filepath.Join(t.TempDir(), "config")
	content := strings.ReplaceAll(file(sshd(t, inCloud(""), "bastion-0"), "/etc/ssh/sshd_config").Content, unit.SSHHostKey, key)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/usr/sbin/sshd", "-T", "-f", config, "-C", "user="+unit.JumpUser+",host=x,addr=10.0.0.1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\npermitopen *:22 *:8200 *:6443\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMemberNames(t *testing.T) {
	name := unit.MemberName("i-0123456789abcdef0", "eu-west-1")
	if name != "i-0123456789abcdef0.eu-west-1.compute.internal" || !unit.IsMember(name) || unit.MemberInstance(name) != "i-0123456789abcdef0" {
		t.Error(name)
	}
	for _, other := range []string{"worker-0", "i-1", "api.demo.internal", "", "ip-10-0-0-1.eu-west-1.compute.internal"} {
		if unit.IsMember(other) {
			t.Errorf("%q is taken for a member", other)
		}
	}
}
