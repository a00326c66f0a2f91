package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/vault"
)

// unitsOf returns the process of each unit of a machine, as its own records have them.
func unitsOf(t *testing.T, machine string) map[string]int {
	t.Helper()
	out := ashlar(t, "exec", machine, "--", "sh", "-c", `for f in /run/ashlar/units/*.json; do echo "$(basename "$f" .json) $(cat "$f")"; done`)
	pids := map[string]int{}
	for line := range strings.Lines(out) {
		name, record, _ := strings.Cut(strings.TrimSpace(line), " ")
		var r struct {
			PID  int
			Done bool
		}
		if err := json.Unmarshal([]byte(record), &r); err != nil {
			t.Fatalf("record of %s: %v", name, err)
		}
		if !r.Done {
			pids[name] = r.PID
		}
	}
	return pids
}

// TestKilledUnit: a killed unit is back within five seconds.
func TestKilledUnit(t *testing.T) {
	for machine, unit := range map[string]string{"worker-0": "kubelet", "etcd-0": "etcd-overlay", "control-plane-0": "kube-scheduler"} {
		before := unitsOf(t, machine)[unit]
		ashlar(t, "exec", machine, "--", "kill", "-9", fmt.Sprint(before))
		eventually(t, 5*time.Second, func() error {
			if now := unitsOf(t, machine)[unit]; now == before || now == 0 {
				return errors.New(unit + " is not back")
			}
			return nil
		})
	}
	ashlar(t, "up")
}

// agentOf is the process of a machine's agent.
func agentOf(t *testing.T, machine string) string {
	t.Helper()
	return strings.TrimSpace(ashlar(t, "exec", machine, "--", "sh", "-c", `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' < $p/cmdline)" in /opt/ashlar/bundle/bin/ashlar\ agent\ ) echo ${p#/proc/};; esac; done`))
}

// TestKilledAgent: a killed agent comes back and goes on with the units that run, without restarting them.
func TestKilledAgent(t *testing.T) {
	agent := func() string { return agentOf(t, "worker-0") }
	before, units := agent(), unitsOf(t, "worker-0")
	ashlar(t, "exec", "worker-0", "--", "kill", "-9", before)
	eventually(t, 10*time.Second, func() error {
		if now := agent(); now == "" || now == before {
			return errors.New("the agent is not back")
		}
		return nil
	})
	ashlar(t, "up") // waits until the machine reports that all is well
	if after := unitsOf(t, "worker-0"); fmt.Sprint(after) != fmt.Sprint(units) {
		t.Errorf("units were restarted: %v, before %v", after, units)
	}
}

// TestVaultAway: with Vault silent, and with Vault sealed, the cluster goes on; `up` unseals it.
func TestVaultAway(t *testing.T) {
	target := target(t)
	cluster := unitsOf(t, "control-plane-0")
	t.Run("silent", func(t *testing.T) {
		done := underLoad(t)
		pid := fmt.Sprint(unitsOf(t, "vault-0")["vault"])
		ashlar(t, "exec", "vault-0", "--", "kill", "-STOP", pid)
		defer ashlar(t, "exec", "vault-0", "--", "kill", "-CONT", pid)
		// Longer than haproxy and the KMS plug-in take to notice.
		time.Sleep(20 * time.Second)
		done()
	})
	ashlar(t, "up")
	t.Run("sealed", func(t *testing.T) {
		done := underLoad(t)
		if err := runVault(t, target, "", "operator", "seal"); !errors.Is(err, vault.ErrSealed) { // its own token it cannot revoke any more
			t.Fatal(err)
		}
		if plan, code := try("-f", file, "plan"); code != 2 || !strings.Contains(plan, "sealed") {
			t.Errorf("plan: exit %d\n%s", code, plan)
		}
		if out, code := try("-f", file, "status"); code != 0 || !strings.Contains(out, "certificates expire from ") {
			t.Errorf("status: exit %d\n%s", code, out)
		}
		ashlar(t, "up")
		done()
	})
	if now := unitsOf(t, "control-plane-0"); fmt.Sprint(now) != fmt.Sprint(cluster) {
		t.Errorf("units were restarted: %v, before %v", now, cluster)
	}
	if out := ashlar(t, "up"); !strings.Contains(out, "nothing to change") {
		t.Errorf("up says:\n%s", out)
	}
}

// TestKilledUp kills `up` at random moments of its work on a cluster of its own; the next one always finishes.
func TestKilledUp(t *testing.T) {
	times := 3
	if slow {
		times = 20
	}
	scratch := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(scratch, []byte(clusterFile(name+"-kill")), 0o600); err != nil {
		t.Fatal(err)
	}
	down := func() {
		if out, code := try("-f", scratch, "down"); code != 0 {
			t.Errorf("down: exit %d\n%s", code, out)
		}
	}
	t.Cleanup(down)
	for range times {
		after := time.Duration(rand.Int64N(int64(9 * time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_ = exec.CommandContext(ctx, binary, "-f", scratch, "up").Run() // killed with SIGKILL, unless it was quicker
		cancel()
		began := time.Now()
		out, code := try("-f", scratch, "up")
		t.Logf("killed after %s; the next took %s", after.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		if code != 0 {
			t.Fatalf("killed after %s; the next up: exit %d\n%s", after, code, out)
		}
		if out, code := try("-f", scratch, "plan"); code != 0 {
			t.Errorf("killed after %s and finished; plan: exit %d\n%s", after, code, out)
		}
		down()
	}
}
