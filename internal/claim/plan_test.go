package claim

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
	"ashlar.dev/ashlar/internal/provider/aws/topology"
	modules "ashlar.dev/ashlar/terraform/aws"
)

// example is one of examples/aws-*.yaml, with what it plans.
func example(t *testing.T, name string) (*v1alpha1.Cluster, []symbol.Resource) {
	t.Helper()
	file := "../../examples/" + name + ".yaml"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := v1alpha1.Decode(b, file)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile("../provider/aws/topology/testdata/" + name + ".plan.json"); err != nil {
		t.Fatal(err)
	}
	plan := &tfjson.Plan{}
	if err := json.Unmarshal(b, plan); err != nil {
		t.Fatal(err)
	}
	all, err := symbol.Plan(plan, modules.Files)
	if err != nil {
		t.Fatal(err)
	}
	return spec, all
}

func tried(t *testing.T, id string, spec *v1alpha1.Cluster, all []symbol.Resource) Result {
	t.Helper()
	target := &Target{Spec: spec, Planned: func(context.Context) (*exposure.Graph, error) { return topology.Of(all), nil }}
	i := slices.IndexFunc(All(), func(c Claim) bool { return c.ID == id })
	return All()[i].try(t.Context(), target)
}

var plannedClaims = []string{"exp-surface", "exp-trusted", "exp-nat", "exp-planes", "api-internal"}

// TestPlanned: of the examples all that is proved from their plans holds.
func TestPlanned(t *testing.T) {
	for _, name := range []string{"aws-single", "aws-ha", "aws-existing-vpc"} {
		spec, all := example(t, name)
		for _, id := range plannedClaims {
			r := tried(t, id, spec, all)
			t.Logf("%s: %s %s, %d attempts, %s", name, id, r.Verdict, len(r.Evidence), r.Kind)
			if r.Verdict != Holds || r.Kind != Planned {
				t.Errorf("%s: %s is %s, %s: %s", name, id, r.Verdict, r.Kind, r.Reason)
				for _, e := range r.Evidence {
					if failed(e) {
						t.Logf("%s from %s: wanted %s, %s", e.Attempt, e.From, e.Want, e.Answer)
					}
				}
			}
			if !slices.ContainsFunc(r.Evidence, func(e Evidence) bool { return e.Want == Allowed && !e.Notice }) && id != "exp-trusted" && name != "aws-existing-vpc" {
				t.Errorf("%s: %s has no legitimate twin", name, id)
			}
		}
	}
}

// TestPlannedSabotage: each of them is broken by a plan that breaks it.
func TestPlannedSabotage(t *testing.T) {
	spec, all := example(t, "aws-ha")
	find := func(address string) int {
		i := slices.IndexFunc(all, func(r symbol.Resource) bool { return strings.HasPrefix(r.Address, address) })
		if i < 0 {
			t.Fatalf("there is no %s", address)
		}
		return i
	}
	id := func(address string) any { return all[find(address)].Values["id"] }
	set := func(address string, pairs ...any) []symbol.Resource {
		out := slices.Clone(all)
		i := find(address)
		out[i].Values = maps.Clone(out[i].Values)
		for n := 0; n < len(pairs); n += 2 {
			out[i].Values[pairs[n].(string)] = pairs[n+1]
		}
		return out
	}
	rule := func(kind, group string, values map[string]any) []symbol.Resource {
		values["security_group_id"] = id(`module.hub.aws_security_group.role["` + group + `"]`)
		return append(slices.Clone(all), symbol.Resource{Address: "aws_vpc_security_group_" + kind + "_rule.new", Type: "aws_vpc_security_group_" + kind + "_rule", Values: values})
	}
	tcp := func(port int, more ...any) map[string]any {
		out := map[string]any{"ip_protocol": "tcp", "from_port": port, "to_port": port}
		for n := 0; n < len(more); n += 2 {
			out[more[n].(string)] = more[n+1]
		}
		return out
	}
	group := func(name string) any { return id(`module.hub.aws_security_group.role["` + name + `"]`) }
	trusted := `module.hub.aws_vpc_security_group_ingress_rule.trusted`
	caught, made := 0, 0
	for _, s := range []struct {
		claim, name string
		all         []symbol.Resource
	}{
		{"exp-surface", "one rule more", rule("ingress", "bastion", tcp(8200, "cidr_ipv4", "198.51.100.0/24"))},
		{"exp-surface", "one rule less", slices.Delete(slices.Clone(all), find(trusted), find(trusted)+1)},
		{"exp-surface", "a public address for Vault", set("module.hub.aws_eip.bastion", "network_interface", id("module.hub.aws_network_interface.vault"))},
		{"exp-surface", "the way back of the bastion's subnet", set("module.hub.aws_route.internet", "destination_cidr_block", "192.0.2.0/25")},
		{"exp-surface", "a service at another port", set("module.jenkins[0].aws_lb_listener.jenkins", "port", 8443)},
		{"exp-surface", "another target", set("module.jenkins[0].aws_lb_target_group.jenkins", "port", 8200)},
		{"exp-trusted", "everybody", set(trusted, "cidr_ipv4", "0.0.0.0/0")},
		{"exp-trusted", "a wider range", set(trusted, "cidr_ipv4", "198.51.0.0/16")},
		{"exp-nat", "a private subnet's way by the internet gateway, with an address", set("module.hub.aws_eip.bastion", "network_interface", id("module.hub.aws_network_interface.vault"))},
		{"exp-nat", "etcd may go out", rule("egress", "etcd", tcp(443, "cidr_ipv4", "0.0.0.0/0"))},
		{"exp-nat", "workers may not", slices.DeleteFunc(slices.Clone(all), func(r symbol.Resource) bool {
			return strings.Contains(r.Address, `egress_rule.outside["worker to outside`)
		})},
		{"exp-nat", "no way to the NAT gateways", slices.DeleteFunc(slices.Clone(all), func(r symbol.Resource) bool { return strings.HasPrefix(r.Address, "module.hub.aws_route.nat") })},
		{"exp-planes", "etcd is open to workers", rule("ingress", "etcd", tcp(2379, "referenced_security_group_id", group("worker")))},
		{"exp-planes", "Vault is not open to workers", slices.DeleteFunc(slices.Clone(all), func(r symbol.Resource) bool {
			return strings.Contains(r.Address, `ingress_rule.inside["worker to vault`)
		})},
		{"exp-planes", "kubelets are open to the VPC", rule("ingress", "worker", tcp(10250, "cidr_ipv4", "10.90.0.0/16"))},
		{"api-internal", "the load balancer faces the internet", set("module.cluster.aws_lb.api", "internal", false)},
		{"api-internal", "API servers are open to workers", append(rule("ingress", "control-plane", tcp(6443, "referenced_security_group_id", group("worker"))),
			rule("egress", "worker", tcp(6443, "referenced_security_group_id", group("control-plane")))[len(all)])},
		{"api-internal", "the listener is elsewhere", set("module.cluster.aws_lb_listener.api", "port", 443)},
	} {
		made++
		if r := tried(t, s.claim, spec, s.all); r.Verdict == Broken {
			caught++
		} else {
			t.Errorf("%s is %s although it was sabotaged: %s %s", s.claim, r.Verdict, s.name, r.Reason)
		}
	}
	t.Logf("caught/made: %d/%d", caught, made)
}
