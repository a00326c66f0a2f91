package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
)

// TestHAFaults kills somebody in the middle of a rotation of examples/ha.yaml, which is in use all the time: no request fails, no
// watcher misses anything, and whoever goes on finishes it.
func TestHAFaults(t *testing.T) {
	if !slow {
		t.Skip("minutes: `make test-slow` has them")
	}
	upHA(t)
	for _, f := range []struct {
		target rotation.Target
		stage  rotation.Stage
		victim string
		kill   func(t *testing.T, operator *exec.Cmd)
	}{
		{rotation.FrontProxy, rotation.Trust, "the Vault that leads", func(t *testing.T, _ *exec.Cmd) { killVault(t, true) }},
		{rotation.VaultTLS, rotation.Issue, "a Vault that follows", func(t *testing.T, _ *exec.Cmd) { killVault(t, false) }},
		{rotation.EtcdKubernetes, rotation.Trust, "agents of etcd's machines", func(t *testing.T, _ *exec.Cmd) {
			for _, machine := range []string{"etcd-0", "etcd-1", "etcd-2"} {
				ashlar(t, "exec", machine, "--", "kill", "-9", agentOf(t, machine))
			}
		}},
		{rotation.EtcdOverlay, rotation.Drop, "the agent of a control-plane machine", func(t *testing.T, _ *exec.Cmd) {
			ashlar(t, "exec", "control-plane-1", "--", "kill", "-9", agentOf(t, "control-plane-1"))
		}},
		{rotation.Kubernetes, rotation.Issue, "the operator", victims["operator"]},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s", f.target, f.stage, f.victim), func(t *testing.T) {
			before := target(t).Desired.CAs[f.target.CA()]
			done := underLoad(t)
			cmd := exec.Command(binary, "-f", file, "pki", "rotate", string(f.target), "--now")
			var out strings.Builder
			began := time.Now()
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitStage(t, f.target, f.stage, began)
			f.kill(t, cmd)
			err := cmd.Wait() // it may have failed: then somebody has to go on
			t.Logf("the rotation took %s: %v\n%s", time.Since(began).Round(time.Second), err, out.String())
			if err != nil {
				t.Log(ashlar(t, "pki", "rotate", "--resume", "--now"))
			}
			ashlar(t, "up")
			done()
			if target(t).Desired.CAs[f.target.CA()] == before {
				t.Error("the CA is the same as before")
			}
			if out, code := try("-f", file, "plan"); code != 0 {
				t.Errorf("plan: exit %d\n%s", code, out)
			}
			if r := verify(t, find(t, "pki-rolling")); r.Verdict != claim.Holds {
				t.Error(r.Reason)
			}
		})
	}
}

// killVault kills the member of Vault that leads, or one that follows it.
func killVault(t *testing.T, leads bool) {
	t.Helper()
	target := target(t)
	for _, m := range target.Desired.WithRole(v1alpha1.RoleVault) {
		res, err := clientFrom(target, provider.FromOperator, unit.CAVault, m.Name, nil, true).Get(fmt.Sprintf("https://%s:%d/v1/sys/leader", m.Address, unit.PortVault))
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Leads bool `json:"is_self"`
		}
		err = json.NewDecoder(res.Body).Decode(&said)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if said.Leads == leads {
			t.Logf("killing Vault on %s", m.Name)
			ashlar(t, "exec", m.Name, "--", "kill", "-9", fmt.Sprint(unitsOf(t, m.Name)["vault"]))
			return
		}
	}
	t.Fatalf("there is no Vault of which it is %t that it leads", leads)
}
