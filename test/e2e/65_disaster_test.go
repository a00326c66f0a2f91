package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// disaster is where a backup of the shared cluster is, and its key.
type disaster struct{ dir, backup, key string }

func (d disaster) restore(t *testing.T, args ...string) string {
	t.Helper()
	began := time.Now()
	out := ashlar(t, append([]string{"restore", d.backup, "--identity", d.key}, args...)...)
	t.Logf("restore %v took %s:\n%s", args, time.Since(began).Round(100*time.Millisecond), out)
	return out
}

func (d disaster) refused(t *testing.T, why string, args ...string) {
	t.Helper()
	if out, code := try(append([]string{"-f", file, "restore"}, args...)...); code != 64 || !strings.Contains(out, why) {
		t.Errorf("restore %v: exit %d, want 64 and %q\n%s", args, code, why, out)
	}
}

// TestDisaster has the shared cluster lose etcd, Vault, and all there is, and get it back from a backup.
func TestDisaster(t *testing.T) {
	dir := t.TempDir()
	d := disaster{dir, filepath.Join(dir, "backup"), filepath.Join(dir, "key")}
	kubectl(t, "create", "configmap", "before", "--from-literal=said=here")
	kubectl(t, "create", "secret", "generic", "before", "--from-literal=said=sealed")
	userSet(t, "alice")
	t.Cleanup(func() {
		kubectl(t, "delete", "configmap,secret", "before")
		ashlar(t, "user", "remove", "alice")
	})
	began := time.Now()
	ashlar(t, "backup", d.backup, "--identity", d.key)
	t.Logf("backup took %s", time.Since(began).Round(100*time.Millisecond))
	if out, code := try("-f", file, "backup", d.backup, "--identity", d.key); code != 64 {
		t.Errorf("a second backup into the same file: exit %d\n%s", code, out)
	}

	kubectl(t, "create", "configmap", "after")
	ashlar(t, "user", "disable", "alice")
	serial := revokeOne(t)
	// That is in a part of the log that was moved aside since.
	ashlar(t, "exec", "vault-0", "--", "sh", "-c", `set -e; cd /var/log/vault; for n in 3 2 1; do [ ! -e audit-1.log.$n ] || mv audit-1.log.$n audit-1.log.$((n+1)); done
mv audit-1.log audit-1.log.1; kill -HUP $(grep -o '"pid":[0-9]*' /run/ashlar/units/vault.json | cut -d: -f2)`)
	d.refuses(t)

	t.Run("etcd lost", func(t *testing.T) {
		lose(t, "etcd-0", "/var/lib/etcd")
		d.restore(t, "--only", "etcd")
		d.holds(t)
		if state := ashlar(t, "user", "list"); !strings.Contains(state, "disabled") {
			t.Errorf("Vault was restored too:\n%s", state)
		}
	})
	t.Run("Vault lost", func(t *testing.T) {
		kubectl(t, "create", "configmap", "kept")
		old := certificateSerials(t, file)
		lose(t, "vault-0", "/var/lib/vault")
		out := d.restore(t, "--only", "vault")
		for _, told := range []string{serial + " of CA kubernetes was revoked: done again", "user alice was made or changed: check them"} {
			if !strings.Contains(out, told) {
				t.Errorf("it does not say %q", told)
			}
		}
		asVaultRoot(t, target(t), func(run func(stdin string, args ...string) string) {
			if when := run("", "read", "-field=revocation_time", vault.PKIPath(name, unit.CAKubernetes)+"/cert/"+serial); when == "0" {
				t.Errorf("%s is not revoked any more", serial)
			}
		})
		kubectl(t, "delete", "configmap", "kept")
		if err := allReplaced(old, certificateSerials(t, file)); err != nil {
			t.Error(err)
		}
		d.holds(t)
	})
	t.Run("what lives is replaced", func(t *testing.T) {
		kubectl(t, "create", "configmap", "after")
		stolen := sentAround(t) // issued and taken back after the backup
		serial := fmt.Sprintf("%x", stolen.Leaf.SerialNumber)
		ashlar(t, "pki", "revoke", "--serial", serial, "--reason", "sent around")
		dropped := target(t).Desired.CAs[unit.CAFrontProxy]
		ashlar(t, "pki", "rotate", "front-proxy", "--now")
		lost := target(t).Desired.CAs[unit.CAFrontProxy]
		if out := d.restore(t, "--replace"); !strings.Contains(out, "CA front-proxy was replaced: done again") {
			t.Error("it does not say that it replaced the CA that was dropped since")
		}
		if now := target(t).Desired.CAs[unit.CAFrontProxy]; now == dropped || now == lost {
			t.Errorf("a CA came back that was dropped, %t, or lost", now == dropped)
		}
		d.holds(t)
		if err := readsSecrets(target(t), stolen)(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("a certificate that was revoked after the backup: %v", err)
		}
	})
	t.Run("a restore is killed", func(t *testing.T) {
		times := 1
		if slow {
			times = 10
		}
		for range times {
			d.killed(t, rand.N(7*time.Second))
		}
	})
	t.Run("all lost", func(t *testing.T) {
		keys := filepath.Join(dir, "unseal-keys.json")
		copyKeys(t, keys)
		ashlar(t, "down")
		d.refused(t, "there are no unseal keys", d.backup, "--identity", d.key)
		if out, code := try("-f", file, "plan"); code != 2 || !strings.Contains(out, "there is no such cluster") {
			t.Errorf("a refused restore left something: exit %d\n%s", code, out)
		}
		d.restore(t, "--unseal-keys", keys)
		d.holds(t)
	})
}

// killed kills a restore in the middle of it: the cluster waits for another one, which finishes the work.
func (d disaster) killed(t *testing.T, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	_ = exec.CommandContext(ctx, binary, "-f", file, "restore", d.backup, "--identity", d.key, "--replace").Run() // killed with SIGKILL
	record := filepath.Join(open(t).Dir, "operator", "restore.json")
	_, err := os.Stat(record)
	t.Logf("killed after %s; under way: %v", after.Round(time.Millisecond), err == nil)
	if out, code := try("-f", file, "up"); err == nil && (code != 64 || !strings.Contains(out, "run `ashlar restore` again")) {
		t.Errorf("up in the middle of a restore: exit %d\n%s", code, out)
	}
	if err == nil {
		d.restore(t)
	} else {
		d.restore(t, "--replace")
	}
	if _, err := os.Stat(record); err == nil {
		t.Error("it is still said to be under way")
	}
	d.holds(t)
}

// refuses: nothing that is not whole, not ours, or would overwrite something is restored, and nothing is touched.
func (d disaster) refuses(t *testing.T) {
	good, err := os.ReadFile(d.backup)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(d.dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := append([]byte{}, good...)
	bad[len(bad)/2] ^= 1
	other := filepath.Join(d.dir, "other-key")
	ashlar(t, "backup", filepath.Join(d.dir, "second"), "--identity", other)
	d.refused(t, "--replace", d.backup, "--identity", d.key)
	d.refused(t, "damaged or incomplete", write("short", good[:len(good)*2/3]), "--identity", d.key, "--replace")
	d.refused(t, "damaged or incomplete", write("altered", bad), "--identity", d.key, "--replace")
	d.refused(t, "none of the given keys", d.backup, "--identity", other, "--replace")
	d.refused(t, "no backup", write("text", []byte("hello")), "--identity", d.key, "--replace")
	d.refused(t, "do not open the Vault of this backup", d.backup, "--identity", d.key, "--replace",
		"--unseal-keys", write("keys", []byte(`{"shares":["AAAA"],"threshold":1}`)))
	own := file
	file = filepath.Join(filepath.Dir(own), "other.yaml")
	if err := os.WriteFile(file, []byte(clusterFile(name+"-other")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.refused(t, "another cluster", d.backup, "--identity", d.key, "--replace")
	file = own
	if out, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("something was touched: exit %d\n%s", code, out)
	}
}

// holds checks that the cluster has what it had, and nothing from after; that nothing differs; and every claim about the PKI.
func (d disaster) holds(t *testing.T) {
	t.Helper()
	if got := kubectl(t, "get", "configmap", "before", "-o", "jsonpath={.data.said}"); got != "here" {
		t.Errorf("the ConfigMap says %q", got)
	}
	if got := kubectl(t, "get", "secret", "before", "-o", "jsonpath={.data.said}"); got != "c2VhbGVk" {
		t.Errorf("the Secret says %q", got)
	}
	if out, code := try("-f", file, "kubectl", "--", "get", "configmap", "after"); code == 0 {
		t.Errorf("what was written after the backup is there:\n%s", out)
	}
	if state := ashlar(t, "user", "list"); !strings.Contains(state, "alice") {
		t.Errorf("users:\n%s", state)
	}
	settled(t)
	pod(t)
	for _, c := range claim.All() {
		if !strings.HasPrefix(c.ID, "pki-") && !strings.HasPrefix(c.ID, "vault-") && !strings.HasPrefix(c.ID, "data-") {
			continue
		}
		eventually(t, 2*time.Minute, func() error { // whatever listens shows its new certificate by and by
			if r := verify(t, c); r.Verdict != claim.Holds {
				return errorString(r.ID + ": " + r.Reason)
			}
			return nil
		})
	}
}

// pod has pods made anew: scheduler, kubelet, network and API agree on what there is.
func pod(t *testing.T) {
	t.Helper()
	kubectl(t, "delete", "pods", "--namespace=kube-system", "--all", "--wait=false")
	kubectl(t, "rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=60s")
}

// lose takes a directory of a machine away, and then its power.
func lose(t *testing.T, machine, dir string) {
	t.Helper()
	ashlar(t, "exec", machine, "--", "sh", "-c", "kill -STOP $(cat /run/ashlar/units/*.json | grep -o '\"pid\":[0-9]*' | cut -d: -f2); rm -rf "+dir)
	c := open(t)
	defer c.Close(context.Background())
	if err := c.Provider.PowerOff(t.Context(), machine); err != nil {
		t.Fatal(err)
	}
}

func userSet(t *testing.T, user string) {
	t.Helper()
	if out, code := tryWith("correct horse battery\n", "-f", file, "user", "set", user, "--group", "developers", "--password-stdin"); code != 0 {
		t.Fatalf("user set: exit %d\n%s", code, out)
	}
}

// revokeOne revokes a certificate, and returns its serial number.
func revokeOne(t *testing.T) string {
	t.Helper()
	target := target(t)
	out := ashlar(t, "pki", "list", "-o", "json")
	var all []struct{ CA, Name, Machine, Serial string }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == "kube-proxy" {
			if err := target.Vault.Revoke(t.Context(), unit.CA(c.CA), c.Serial); err != nil {
				t.Fatal(err)
			}
			return c.Serial
		}
	}
	t.Fatal("there is no certificate to revoke")
	return ""
}

func copyKeys(t *testing.T, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/var/lib/ashlar/clusters", name, "operator", "unseal-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
