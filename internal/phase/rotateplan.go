package phase

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// RotationStep is one stage of a rotation, as it is going to be.
type RotationStep struct {
	// Targets come to the stage together; Does is what it does to each.
	Targets []rotation.Target `json:"targets"`
	Stage   rotation.Stage    `json:"stage"`
	Does    []string          `json:"does"`
	// Turns are the machines where something restarts, those together that restart together.
	Turns [][]string `json:"turns,omitempty"`
	// Interrupts are machines that restart something which no other does meanwhile.
	Interrupts []string `json:"interrupts,omitempty"`
	// SettleSeconds is how long the stage lasts at least, once every machine is there.
	SettleSeconds float64 `json:"settleSeconds,omitempty"`
}

// PlanRotation says what rotating targets would do, in order. It changes nothing.
func PlanRotation(ctx context.Context, c *Cluster, targets []rotation.Target, o RotateOptions) ([]RotationStep, error) {
	targets, err := c.rotatable(targets)
	if err != nil {
		return nil, err
	}
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	var out []RotationStep
	for _, together := range rotation.Together(targets) {
		before := at(all, together, rotation.Prepare)
		for _, stage := range rotation.Stages {
			after := at(all, together, stage)
			var machines []rotation.Machine
			for i, e := range all {
				machines = append(machines, rotation.Machine{Name: e.machine.Name, Role: e.machine.Role, Restarts: len(restarted(before[i], after[i])) > 0})
			}
			before = after
			var wait time.Duration
			var what []string
			for _, t := range together {
				wait = max(wait, t.Settle(stage, c.lifetimes()))
				what = append(what, does(t, stage))
			}
			if o.Settle != nil {
				wait = min(wait, *o.Settle)
			}
			out = append(out, RotationStep{Targets: together, Stage: stage, Does: what, Turns: turnsOfRestarts(machines),
				Interrupts: rotation.Interrupts(machines), SettleSeconds: wait.Seconds()})
		}
	}
	return out, nil
}

// turnsOfRestarts leaves those out where nothing restarts.
func turnsOfRestarts(machines []rotation.Machine) [][]string {
	return rotation.Turns(slices.DeleteFunc(slices.Clone(machines), func(m rotation.Machine) bool { return !m.Restarts }))
}

// at is what machines would be told at a stage, with placeholders for keys that do not exist yet.
func at(all []enrolled, targets []rotation.Target, stage rotation.Stage) []unit.Desired {
	var out []unit.Desired
	for _, e := range all {
		d := e.want
		d.CAs = maps.Clone(d.CAs)
		for _, t := range targets {
			r := rotation.Rotation{Target: t, Stage: stage, Old: d.CAs[t.CA()], New: "the successor\n"}
			if ca := t.CA(); ca != "" {
				d.CAs[ca] = strings.Join(r.Trusted(), "")
			}
			if ca := t.SSHCA(); ca != "" && d.SSH != nil {
				d.SSH = sshAt(*d.SSH, ca, r)
			}
			if t == rotation.ServiceAccountKey && len(d.ServiceAccountKeys) > 0 {
				r.Old, r.New = d.ServiceAccountKeys[0], vault.ServiceAccountDocument+"/next"
				d.ServiceAccountKeys = tokenDocuments(r)
			}
		}
		out = append(out, d)
	}
	return out
}

// does says in words what a stage is.
func does(t rotation.Target, s rotation.Stage) string {
	if t == rotation.EncryptionKey {
		return map[rotation.Stage]string{
			rotation.Prepare: "make another version of the key, which seals whatever is written from now on",
			rotation.Trust:   "nothing: every version is trusted",
			rotation.Issue:   "rewrite every Secret and ConfigMap, until etcd holds nothing that the old version sealed",
			rotation.Drop:    "look into etcd again; then the old version decrypts nothing any more",
			rotation.Finish:  "nothing more",
		}[s]
	}
	if t == rotation.SSHUsers && s == rotation.Issue {
		return "sign certificates by the new CA; those that people have end by themselves"
	}
	key, what := "CA", "certificates"
	if t == rotation.ServiceAccountKey {
		key, what = "key", "tokens"
	}
	return map[rotation.Stage]string{
		rotation.Prepare: fmt.Sprintf("make the new %s", key),
		rotation.Trust:   fmt.Sprintf("trust the old %s and the new", key),
		rotation.Issue:   fmt.Sprintf("sign %s by the new %s, and replace those that machines have", what, key),
		rotation.Drop:    fmt.Sprintf("trust the new %s only: from here there is no way back", key),
		rotation.Finish:  fmt.Sprintf("destroy the old %s", key),
	}[s]
}
