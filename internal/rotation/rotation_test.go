package rotation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

func TestParseTargets(t *testing.T) {
	for want, names := range map[string][]string{
		"[etcd-k8s kubernetes]": {"kubernetes", "etcd-k8s", "kubernetes"},
		"[vault-tls etcd-k8s etcd-overlay front-proxy encryption-key ssh-host ssh-user kubernetes serviceaccount-key]": {"kubernetes", "all"},
		"[]": {},
	} {
		got, err := ParseTargets(names)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v: %v, %v", names, got, err)
		}
	}
	if _, err := ParseTargets([]string{"kubernets"}); err == nil {
		t.Error("a misspelt name was taken")
	}
}

// TestEveryCA can be rotated.
func TestEveryCA(t *testing.T) {
	for _, ca := range unit.CAs {
		if !slices.ContainsFunc(Targets, func(t Target) bool { return t.CA() == ca }) {
			t.Errorf("%s cannot", ca)
		}
	}
}

func TestSettle(t *testing.T) {
	l := Lifetimes{Admin: 8 * time.Hour, Token: time.Hour, SSH: 5 * time.Minute}
	if got := ServiceAccountKey.Settle(Issue, l); got != l.Token {
		t.Errorf("tokens of the old key live %s, and it is dropped after %s", l.Token, got)
	}
	if got := Kubernetes.Settle(Issue, l); got != l.Admin {
		t.Errorf("people's certificates of the old CA live %s, and it is dropped after %s", l.Admin, got)
	}
	if got := SSHUsers.Settle(Issue, l); got != l.SSH {
		t.Errorf("people's SSH certificates of the old CA live %s, and it is dropped after %s", l.SSH, got)
	}
	if got := EtcdKubernetes.Settle(Issue, l); got != 0 {
		t.Errorf("nobody but machines has a certificate of etcd's CA, and it waits %s", got)
	}
}

// TestTurns: every machine has one turn; of those that stand in for each other and have to restart, no two have the same.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var machines []Machine
		for i := range rapid.IntRange(0, 15).Draw(t, "machines") {
			machines = append(machines, Machine{
				Name: fmt.Sprint("m", i), Role: rapid.SampledFrom(v1alpha1.Roles).Draw(t, "role"), Restarts: rapid.Bool().Draw(t, "restarts")})
		}
		seen := map[string]int{}
		for _, turn := range Turns(machines) {
			roles := map[v1alpha1.Role]int{}
			for _, name := range turn {
				seen[name]++
				m := machines[slices.IndexFunc(machines, func(m Machine) bool { return m.Name == name })]
				if m.Restarts {
					roles[m.Role]++
				}
			}
			for role, n := range roles {
				if n > 1 && slices.Contains(inTurn, role) {
					t.Fatalf("%d machines of role %s restart at once", n, role)
				}
			}
		}
		for _, m := range machines {
			if seen[m.Name] != 1 {
				t.Fatalf("%s has %d turns", m.Name, seen[m.Name])
			}
		}
	})
}

func TestInterrupts(t *testing.T) {
	got := Interrupts([]Machine{
		{"etcd-0", v1alpha1.RoleEtcd, true}, {"lb-0", v1alpha1.RoleLB, false}, {"worker-0", v1alpha1.RoleWorker, true},
		{"control-plane-0", v1alpha1.RoleControlPlane, true}, {"control-plane-1", v1alpha1.RoleControlPlane, true},
	})
	if fmt.Sprint(got) != "[etcd-0]" {
		t.Errorf("nobody stands in for %v", got)
	}
}
