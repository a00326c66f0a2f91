package phase

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/vault"
)

// TestSSHEngines follows both CAs of SSH through a rotation of one: there are two engines until it is over, and that which signs
// is named first.
func TestSSHEngines(t *testing.T) {
	j, err := rotation.Journal{}.Enqueue([]rotation.Target{rotation.SSHUsers})
	if err == nil {
		j, err = j.Begin([]rotation.Keys{{Target: rotation.SSHUsers, Old: "user", New: "user-r-1"}}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[user]", "[user user-r-1]", "[user-r-1 user]", "[user-r-1]", "[user-r-1]"} {
		trusted, mounted := trustedSSH(j), mountedSSH(j)
		if got := fmt.Sprint(trusted[vault.SSHUsers]); got != want || fmt.Sprint(trusted[vault.SSHHosts]) != "[host]" {
			t.Errorf("at %s %v are trusted, want %s", j.Current.Stage, trusted, want)
		}
		if fmt.Sprint(mounted[vault.SSHUsers]) != "[user user-r-1]" || fmt.Sprint(mounted[vault.SSHHosts]) != "[host]" {
			t.Errorf("at %s there are %v", j.Current.Stage, mounted)
		}
		if j, err = j.Confirm(time.Now()); err == nil {
			j, err = j.Advance()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(trustedSSH(j), mountedSSH(j)); got != "map[host:[host] user:[user-r-1]] map[host:[host] user:[user-r-1]]" {
		t.Errorf("after it %s", got)
	}
}

// TestWithoutBastion: where there is none, "all" is all the others, and to name a CA of SSH is a mistake.
func TestWithoutBastion(t *testing.T) {
	c := &Cluster{Spec: &v1alpha1.Cluster{}}
	got, err := c.rotatable(rotation.Targets)
	if err != nil || len(got) != len(rotation.Targets)-2 || slices.Contains(got, rotation.SSHHosts) {
		t.Errorf("all are %v, %v", got, err)
	}
	if _, err := c.rotatable([]rotation.Target{rotation.SSHHosts}); err == nil {
		t.Error("what there is not was taken")
	}
	c.Spec.Spec.Pools = []v1alpha1.Pool{{Name: "bastion", Role: v1alpha1.RoleBastion, Count: 1}}
	if got, err := c.rotatable(rotation.Targets); err != nil || len(got) != len(rotation.Targets) {
		t.Errorf("with a bastion all are %v, %v", got, err)
	}
}

// TestHostKeySigner: a machine whose host key another CA signed than the one that does now is waited for.
func TestHostKeySigner(t *testing.T) {
	const a, b = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrWvN3WGDQO4mOqUSbIsPmVb8kP1t6G7oQpvsvXIEaF\n",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9yw6Xy0tcbnwXrbCjBCCzSEkPUaVbbgCWC8oDCBqEq\n"
	if got := signsSSH(b + a); got == "" || got != signsSSH(b) || got == signsSSH(a) {
		t.Errorf("of two, %s signs", got)
	}
	if signsSSH("") != "" {
		t.Error("nobody signs, and has a fingerprint")
	}
}
