// Package aws tries the modules of terraform/aws with the real tofu and the schema of the real provider. See README.md.
package aws

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/test/aws/sim"
)

var cases = []string{"aws-single", "aws-ha", "aws-existing-vpc"}

// start copies the modules, and puts into the simulated account what a case says is there already.
func start(t *testing.T, vars variables) *sim.Module {
	t.Helper()
	m := sim.New(t, modules)
	existing, is := vars["existing_vpc"].(map[string]any)
	if !is {
		return m
	}
	err := m.Change(func(all map[string]map[string]sim.Object) {
		id := existing["id"].(string)
		all["aws_vpc"] = map[string]sim.Object{id: {"id": id, "cidr_block": "10.7.0.0/16", "region": vars["region"]}}
		all["aws_internet_gateway"] = map[string]sim.Object{"igw-0123456789abcdef0": {"id": "igw-0123456789abcdef0", "vpc_id": id, "region": vars["region"]}}
		all["aws_subnet"] = map[string]sim.Object{}
		for kind, third := range map[string]int{"public": 100, "private": 0} {
			for i, s := range existing[kind+"_subnet_ids"].([]any) {
				all["aws_subnet"][s.(string)] = sim.Object{"id": s, "vpc_id": id, "availability_zone": vars["zones"].([]any)[i],
					"cidr_block": fmt.Sprintf("10.7.%d.0/24", third+i), "map_public_ip_on_launch": false, "region": vars["region"]}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLife is that of a cluster: it is planned, made as planned, found unchanged, and removed; and at each step all invariants hold.
func TestLife(t *testing.T) {
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := read(t, name)
			m := start(t, vars)
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			before := world(t, m)
			plan := planned(t, m, vars)
			hold(t, planView(vars, plan), "plan")

			state, err := m.Apply(vars)
			if err != nil {
				t.Fatal(err)
			}
			hold(t, look(vars, state.Values.RootModule), "state")
			outputs(t, vars, state)
			if again := sim.Changes(planned(t, m, vars)); len(again) > 0 {
				t.Errorf("a second plan would do %v", again)
			}

			if err := m.Destroy(vars); err != nil {
				t.Fatal(err)
			}
			if after := world(t, m); !maps.EqualFunc(before, after, slices.Equal) {
				t.Errorf("left behind: %v, where there was %v", after, before)
			}
		})
	}
}

// TestChanges: what is done in place, what replaces, and what is left alone, when something is declared otherwise.
func TestChanges(t *testing.T) {
	vars := read(t, "aws-ha")
	m := start(t, vars)
	if _, err := m.Apply(vars); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		change func(variables)
		want   map[string]string
	}{
		{"more workers", func(v variables) { v.group("worker")["max"] = 20 },
			map[string]string{`module.cluster.aws_autoscaling_group.worker["worker"]`: "update"}},
		{"a larger etcd machine", func(v variables) { v.machine("etcd-1")["instance_type"] = "m6i.2xlarge" },
			map[string]string{`module.cluster.aws_instance.etcd["etcd-1"]`: "update"}},
		{"more room for etcd", func(v variables) { v.machine("etcd-1")["data_volume_gib"] = 80 },
			map[string]string{`module.cluster.aws_ebs_volume.etcd["etcd-1"]`: "update"}},
		{"another zone for etcd, which takes its data", func(v variables) { v.machine("etcd-1")["zone"] = 0 },
			map[string]string{
				`module.cluster.aws_ebs_volume.etcd["etcd-1"]`:        "replace",
				`module.cluster.aws_instance.etcd["etcd-1"]`:          "replace",
				`module.cluster.aws_network_interface.etcd["etcd-1"]`: "replace",
				`module.cluster.aws_route53_record.etcd["etcd-1"]`:    "update",
				`module.cluster.aws_volume_attachment.etcd["etcd-1"]`: "replace",
			}},
		{"a newer bundle, which only groups boot", func(v variables) {
			v["bundle"] = map[string]any{"digest": strings.Repeat("ab", 32), "key": "bundles/" + strings.Repeat("ab", 32) + ".tar.gz"}
		}, map[string]string{
			`module.cluster.aws_autoscaling_group.control_plane["control-plane"]`: "update",
			`module.cluster.aws_autoscaling_group.worker["builds"]`:               "update",
			`module.cluster.aws_autoscaling_group.worker["worker"]`:               "update",
			`module.cluster.aws_launch_template.control_plane["control-plane"]`:   "update",
			`module.cluster.aws_launch_template.worker["builds"]`:                 "update",
			`module.cluster.aws_launch_template.worker["worker"]`:                 "update",
		}},
		{"one trusted range less", func(v variables) { v["trusted_cidrs"] = v["trusted_cidrs"].([]any)[:1] },
			map[string]string{
				`module.hub.aws_vpc_security_group_ingress_rule.trusted["192.0.2.0/24 trusted to bastion tcp 22"]`:    "delete",
				`module.hub.aws_vpc_security_group_ingress_rule.trusted["192.0.2.0/24 trusted to public-lb tcp 443"]`: "delete",
			}},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := sim.Changes(planned(t, m, vars.with(c.change))); !maps.Equal(got, c.want) {
				t.Errorf("the plan would do %v\nwant %v", got, c.want)
			}
		})
	}
}

// TestDrift: what somebody changed by hand is seen, and put back.
func TestDrift(t *testing.T) {
	vars := read(t, "aws-single")
	m := start(t, vars)
	if _, err := m.Apply(vars); err != nil {
		t.Fatal(err)
	}
	err := m.Change(func(all map[string]map[string]sim.Object) {
		for _, o := range all["aws_vpc_security_group_ingress_rule"] {
			if o["description"] == "ssh, to the bastion" {
				o["cidr_ipv4"] = "0.0.0.0/0"
			}
		}
		for _, o := range all["aws_instance"] {
			for _, b := range o["metadata_options"].([]any) {
				b.(map[string]any)["http_tokens"] = "optional"
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		`module.cluster.aws_instance.etcd["etcd-0"]`:                                                          "update",
		`module.hub.aws_instance.bastion["bastion-0"]`:                                                        "update",
		`module.hub.aws_instance.vault["vault-0"]`:                                                            "update",
		`module.hub.aws_vpc_security_group_ingress_rule.trusted["198.51.100.0/24 trusted to bastion tcp 22"]`: "update",
	}
	if got := sim.Changes(planned(t, m, vars)); !maps.Equal(got, want) {
		t.Errorf("the plan would do %v\nwant %v", got, want)
	}
}

// TestFormat: all files are as `tofu fmt` writes them.
func TestFormat(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), sim.Tofu(t), "fmt", "-check", "-recursive", "-list=true", modules).CombinedOutput()
	if err != nil {
		t.Errorf("not formatted:\n%s", out)
	}
}

func planned(t *testing.T, m *sim.Module, vars variables) *tfjson.Plan {
	t.Helper()
	plan, err := m.Plan(vars)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func planView(vars variables, plan *tfjson.Plan) *view {
	v := look(vars, plan.PlannedValues.RootModule)
	v.config = plan.Config
	return v
}

// hold checks the invariants that can be told.
func hold(t *testing.T, v *view, of string) {
	t.Helper()
	for _, i := range invariants {
		if i.when != "" && i.when != of {
			continue
		}
		wrong, looked := i.check(v)
		if looked == 0 {
			t.Errorf("%s: there was nothing to look at", i.name)
		}
		for _, w := range wrong {
			t.Errorf("%s: %s", i.name, w)
		}
	}
}

// outputs are what internal/provider/aws reads.
func outputs(t *testing.T, vars variables, state *tfjson.State) {
	t.Helper()
	out := state.Values.Outputs
	for _, name := range []string{"vault_addresses", "bastion_address", "api_endpoint", "nat_addresses", "buckets", "machines", "groups", "service_addresses"} {
		if out[name] == nil || out[name].Sensitive {
			t.Errorf("there is no output %s that can be read", name)
			return
		}
	}
	machines := out["machines"].Value.(map[string]any)
	if got, want := slices.Sorted(maps.Keys(machines)), slices.Sorted(maps.Keys(vars["machines"].(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("the machines are %v, want %v", got, want)
	}
	addresses := map[any]bool{}
	for name, x := range machines {
		m := x.(map[string]any)
		if m["role"] != vars.machine(name)["role"] || m["instance_id"] == "" || m["private_ip"] == "" || addresses[m["private_ip"]] {
			t.Errorf("%s is %v", name, m)
		}
		addresses[m["private_ip"]] = true
	}
	if got, want := slices.Sorted(maps.Keys(out["groups"].Value.(map[string]any))), slices.Sorted(maps.Keys(vars["groups"].(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("the groups are %v, want %v", got, want)
	}
	if n := len(out["service_addresses"].Value.(map[string]any)); n != len(vars["services"].([]any)) {
		t.Errorf("there are %d addresses of services, want %d", n, len(vars["services"].([]any)))
	}
}

// world is the ids of what there is in the simulated account, by type.
func world(t *testing.T, m *sim.Module) map[string][]string {
	t.Helper()
	all, err := m.World()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for typ, objects := range all {
		if len(objects) > 0 {
			out[typ] = slices.Sorted(maps.Keys(objects))
		}
	}
	return out
}

// TestSecrets looks through the whole of plans and states.
func TestSecrets(t *testing.T) {
	vars := read(t, "aws-ha")
	m := start(t, vars)
	plan, err := m.PlanJSON(vars)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(vars); err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(m.Dir + "/terraform.tfstate")
	if err != nil {
		t.Fatal(err)
	}
	for what, all := range map[string]string{"plan": string(plan), "state": string(state)} {
		if len(all) < 100_000 {
			t.Errorf("the %s has only %d bytes", what, len(all))
		}
		for _, s := range secretsIn(all) {
			t.Errorf("in the %s: %.60q", what, s)
		}
	}
}
