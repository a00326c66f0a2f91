package sim

import (
	"maps"
	"strings"
	"testing"
)

const network = "testdata/network"

// A module's whole life: everything is created as planned, a second plan finds nothing to do, and nothing is left.
func TestLife(t *testing.T) {
	m := New(t, network)
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	state, err := m.Apply(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.Values.Outputs["address"].Value; got != "10.0.0.10" {
		t.Errorf("the machine's address is %v, want that of its interface", got)
	}
	unchanged(t, m)
	if err := m.Destroy(nil); err != nil {
		t.Fatal(err)
	}
	world, err := m.World()
	if err != nil {
		t.Fatal(err)
	}
	for typ, left := range world {
		if len(left) > 0 {
			t.Errorf("left of %s: %v", typ, left)
		}
	}
}

func unchanged(t *testing.T, m *Module) {
	t.Helper()
	plan, err := m.Plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := Changes(plan); len(c) > 0 {
		t.Errorf("a second plan would do %v", c)
		for _, c := range plan.ResourceChanges {
			if !c.Change.Actions.NoOp() {
				t.Logf("%s: %v\n%v", c.Address, c.Change.Before, c.Change.After)
			}
		}
	}
}

// What changes in place, what replaces, and what follows from that.
func TestChange(t *testing.T) {
	m := New(t, network)
	if _, err := m.Apply(nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		vars map[string]any
		want map[string]string
	}{
		{map[string]any{"instance_type": "t3.large"}, map[string]string{"aws_instance.machine": "update"}},
		{map[string]any{"user_data": "#cloud-config\nfqdn: x\n"}, map[string]string{
			"aws_instance.machine": "replace", "aws_ebs_volume.data": "replace", "aws_volume_attachment.data": "replace",
			"aws_lb_target_group_attachment.machine": "replace",
		}},
		{map[string]any{"rules": map[string]any{"https": map[string]any{"port": 444, "why": "the public service"}}}, map[string]string{
			`aws_vpc_security_group_ingress_rule.in["https"]`: "update",
		}},
		{map[string]any{"rules": map[string]any{}}, map[string]string{`aws_vpc_security_group_ingress_rule.in["https"]`: "delete"}},
	} {
		plan, err := m.Plan(c.vars)
		if err != nil {
			t.Fatal(err)
		}
		if got := Changes(plan); !maps.Equal(got, c.want) {
			t.Errorf("with %v, the plan would do %v, want %v", c.vars, got, c.want)
		}
	}
}

// What AWS refuses is refused, and by validate or plan where the provider does so.
func TestRefused(t *testing.T) {
	m := New(t, network)
	for why, want := range map[string]string{"it's": "must match", "→ machine": "must match"} {
		_, err := m.Plan(map[string]any{"rules": map[string]any{"a": map[string]any{"port": 1, "why": why}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a rule with the description %q: %v, want %q", why, err, want)
		}
	}
}
