package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLogin: a user logs in with a password, acts through kubectl under their own name and no other, survives a restart
// of Vault, and is shut out when disabled.
func TestLogin(t *testing.T) {
	const password = "correct horse battery staple"
	given := func(args ...string) (string, int) {
		return tryWith(password+"\n", append([]string{"-f", file}, args...)...)
	}
	if out, code := given("user", "set", "alice", "--group", "developers", "--password-stdin"); code != 0 {
		t.Fatalf("user set: exit %d\n%s", code, out)
	}
	t.Cleanup(func() {
		ashlar(t, "user", "remove", "alice")
		kubectl(t, "delete", "clusterrolebinding", "developers", "--ignore-not-found")
	})
	kubectl(t, "create", "clusterrolebinding", "developers", "--clusterrole=view", "--group=developers")
	as := func(args ...string) (string, int) {
		return try(append([]string{"-f", file, "kubectl", "--user", "alice", "--"}, args...)...)
	}

	if out, code := as("get", "pods"); code == 0 || !strings.Contains(out, "not logged in as alice") {
		t.Errorf("without a session: exit %d\n%s", code, out)
	}
	if out, code := tryWith("wrong\n", "-f", file, "login", "alice", "--password-stdin"); code == 0 || strings.Contains(out, "wrong\n") {
		t.Errorf("with a wrong password: exit %d\n%s", code, out)
	}
	if out, code := given("login", "alice", "--password-stdin"); code != 0 || strings.Contains(out, password) {
		t.Fatalf("login: exit %d\n%s", code, out)
	}
	// The API servers fetch Vault's keys in their own time.
	eventually(t, time.Minute, func() error {
		out, code := as("auth", "whoami", "-o", "json")
		if code != 0 {
			return errorString(out)
		}
		var who struct {
			Status struct {
				UserInfo struct {
					Username string
					Groups   []string
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &who); err != nil {
			return err
		}
		u := who.Status.UserInfo
		if u.Username != "alice" || strings.Join(u.Groups, " ") != "developers system:authenticated" {
			t.Errorf("alice is %+v", u)
		}
		return nil
	})
	if out, code := as("get", "pods", "--all-namespaces"); code != 0 {
		t.Errorf("what her group may do: exit %d\n%s", code, out)
	}
	if out, code := as("get", "secrets", "--all-namespaces"); code == 0 || !strings.Contains(out, "Forbidden") {
		t.Errorf("what it may not: exit %d\n%s", code, out)
	}
	if log := ashlar(t, "exec", "control-plane-0", "--", "grep", "-c", `"username":"alice"`, "/var/log/kubernetes/audit.log"); strings.TrimSpace(log) == "0" {
		t.Error("the audit log does not know her")
	}

	t.Run("Vault restarts", func(t *testing.T) {
		ashlar(t, "exec", "vault-0", "--", "kill", "-9", fmt.Sprint(unitsOf(t, "vault-0")["vault"]))
		ashlar(t, "up")
		if out, code := as("get", "pods"); code != 0 {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		ashlar(t, "user", "disable", "alice")
		if out, code := as("get", "pods"); code == 0 {
			t.Errorf("her session goes on:\n%s", out)
		}
		if out, code := given("login", "alice", "--password-stdin"); code == 0 {
			t.Errorf("she logs in:\n%s", out)
		}
		if out := ashlar(t, "user", "list"); !strings.Contains(out, "disabled") {
			t.Errorf("the list says\n%s", out)
		}
		ashlar(t, "user", "enable", "alice")
		if out, code := given("login", "alice", "--password-stdin"); code != 0 {
			t.Errorf("enabled again: exit %d\n%s", code, out)
		}
	})
	if out, code := try("-f", file, "user", "disable", "nobody"); code != 64 {
		t.Errorf("somebody who is not there: exit %d\n%s", code, out)
	}
	if out, code := given("user", "set", "system:admin", "--password-stdin"); code != 64 {
		t.Errorf("a component's name: exit %d\n%s", code, out)
	}
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("people are no drift, but plan says\n%s", plan)
	}
}
