package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
)

// victims are those who are killed in the middle of a rotation: who works on it, the agent of a machine that has to confirm
// it, and Vault, where it is written down.
var victims = map[string]func(t *testing.T, operator *exec.Cmd){
	"operator": func(t *testing.T, operator *exec.Cmd) {
		if err := operator.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	},
	"agent": func(t *testing.T, _ *exec.Cmd) {
		ashlar(t, "exec", "control-plane-0", "--", "kill", "-9", agentOf(t, "control-plane-0"))
	},
	"vault": func(t *testing.T, _ *exec.Cmd) {
		ashlar(t, "exec", "vault-0", "--", "kill", "-9", fmt.Sprint(unitsOf(t, "vault-0")["vault"]))
	},
}

// TestRotateFaults kills one of them at a step; `up` finishes whatever is left, and the CA is another one.
func TestRotateFaults(t *testing.T) {
	type fault struct {
		stage  rotation.Stage
		victim string
	}
	faults := []fault{{rotation.Issue, "agent"}, {rotation.Drop, "vault"}, {rotation.Finish, "operator"}}
	if slow {
		faults = nil
		for _, stage := range rotation.Stages {
			for victim := range victims {
				faults = append(faults, fault{stage, victim})
			}
		}
	}
	for _, f := range faults {
		t.Run(string(f.stage)+"/"+f.victim, func(t *testing.T) {
			before := target(t).Desired.CAs[unit.CAFrontProxy]
			cmd := exec.Command(binary, "-f", file, "pki", "rotate", "front-proxy", "--now")
			var out strings.Builder
			since := time.Now()
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitStage(t, rotation.FrontProxy, f.stage, since)
			victims[f.victim](t, cmd)
			err := cmd.Wait() // it may have failed: then somebody has to go on
			t.Logf("the rotation: %v\n%s", err, out.String())
			ashlar(t, "up")
			if target(t).Desired.CAs[unit.CAFrontProxy] == before {
				t.Error("the CA is the same as before")
			}
			if out, code := try("-f", file, "plan"); code != 0 {
				t.Errorf("plan: exit %d\n%s", code, out)
			}
			if r := verify(t, find(t, "pki-rolling")); r.Verdict != "holds" {
				t.Error(r.Reason)
			}
		})
	}
}

// awaitStage waits until the journal says that a rotation has come to a stage. Some are so short that they may be over.
func awaitStage(t *testing.T, target rotation.Target, stage rotation.Stage, since time.Time) {
	t.Helper()
	c := open(t)
	eventually(t, 3*time.Minute, func() error {
		j, err := phase.Rotation(t.Context(), c)
		switch {
		case err != nil:
			return err
		case j.Current == nil && j.Past[target].Began.After(since):
			return nil
		case j.Current == nil || slices.Index(rotation.Stages, j.Current.Stage) < slices.Index(rotation.Stages, stage):
			return fmt.Errorf("the journal says %+v", j.Current)
		}
		return nil
	})
}
