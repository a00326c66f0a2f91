package sim

import (
	"maps"
	"testing"
)

const group = two + `
variable "user_data" {
  type    = string
  default = "#cloud-config"
}

variable "min" {
  type    = number
  default = 3
}

resource "aws_launch_template" "worker" {
  name          = "worker"
  image_id      = "ami-1"
  instance_type = "t3.small"
  user_data     = base64encode(var.user_data)

  metadata_options {
    http_tokens = "required"
  }
}

resource "aws_autoscaling_group" "worker" {
  name                = "worker"
  min_size            = var.min
  max_size            = 10
  vpc_zone_identifier = [aws_subnet.a.id, aws_subnet.b.id]

  launch_template {
    id      = aws_launch_template.worker.id
    version = aws_launch_template.worker.latest_version
  }

  tag {
    key                 = "role"
    value               = "worker"
    propagate_at_launch = true
  }
}
`

// A group has its members, which are in nobody's state; its template gets new versions; and what scales it is no drift.
func TestGroup(t *testing.T) {
	m := module(t, group)
	if _, err := m.Apply(nil); err != nil {
		t.Fatal(err)
	}
	members := func() map[string]Object {
		t.Helper()
		world, err := m.World()
		if err != nil {
			t.Fatal(err)
		}
		return world["made:aws_instance"]
	}
	before := members()
	if len(before) != 3 {
		t.Errorf("%d members, want 3", len(before))
	}
	plan, err := m.Plan(map[string]any{"user_data": "#cloud-config\nfqdn: x"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"aws_launch_template.worker": "update", "aws_autoscaling_group.worker": "update"}
	if got := Changes(plan); !maps.Equal(got, want) {
		t.Errorf("with other user data, the plan would do %v, want %v", got, want)
	}
	if err := m.Change(func(all map[string]map[string]Object) { all["aws_autoscaling_group"]["worker"]["desired_capacity"] = 7 }); err != nil {
		t.Fatal(err)
	}
	unchanged(t, m)
	if _, err := m.Apply(map[string]any{"min": 4}); err != nil {
		t.Fatal(err)
	}
	after := members()
	if len(after) != 7 {
		t.Errorf("%d members, want the 7 to which it was scaled", len(after))
	}
	for id := range before {
		if after[id] == nil {
			t.Errorf("member %s is gone", id)
		}
	}
	if err := m.Destroy(nil); err != nil {
		t.Fatal(err)
	}
	if left := members(); len(left) > 0 {
		t.Errorf("%d members are left", len(left))
	}
}
