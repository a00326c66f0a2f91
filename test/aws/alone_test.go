package aws

import (
	"path/filepath"
	"testing"

	"ashlar.dev/ashlar/test/aws/sim"
)

// TestAlone: each module can be used by itself.
func TestAlone(t *testing.T) {
	m := sim.New(t, modules)
	root := m.Dir
	for _, name := range []string{"hub", "cluster", "jenkins", "foreman", "state"} {
		m.Dir = filepath.Join(root, name)
		m.MustRun("init", "-input=false", "-no-color")
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestState: the bucket of the state is no less closed than the others.
func TestState(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	m := sim.New(t, filepath.Join(modules, "state"))
	vars := map[string]any{"cluster": "demo"}
	state, err := m.Apply(vars)
	if err != nil {
		t.Fatal(err)
	}
	v := look(vars, state.Values.RootModule)
	for _, check := range []func(*view) ([]string, int){bucketsClosed, keysRotate} {
		wrong, looked := check(v)
		if looked == 0 {
			t.Error("there was nothing to look at")
		}
		for _, w := range wrong {
			t.Error(w)
		}
	}
	if got := state.Values.Outputs["bucket"].Value; got != "demo-111122223333-state" {
		t.Errorf("the bucket is %v, where the operator's policy does not reach it", got)
	}
	again, err := m.Plan(vars)
	if err != nil {
		t.Fatal(err)
	}
	if c := sim.Changes(again); len(c) > 0 {
		t.Errorf("a second plan would do %v", c)
	}
}
