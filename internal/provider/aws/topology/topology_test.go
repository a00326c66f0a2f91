package topology

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
	modules "ashlar.dev/ashlar/terraform/aws"
)

// examples are those of examples/aws-*.yaml. Their plans, and what came of them, are written by test/aws.
var examples = []string{"aws-single", "aws-ha", "aws-existing-vpc"}

func read[T any](t testing.TB, name string) *T {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func planned(t testing.TB, example string) []symbol.Resource {
	t.Helper()
	all, err := symbol.Plan(read[tfjson.Plan](t, example+".plan.json"), modules.Files)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// reached is a surface in words, by names alone.
func reached(g *exposure.Graph) []string {
	var out []string
	for _, e := range exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6)) {
		for _, c := range e.Packets.Cells() {
			to := g.Text(c.Destination.First())
			if g.Names[c.Destination.First()] == "" {
				to = "a public address" // known, once it is there
			}
			out = append(out, fmt.Sprintf("%s port %d by %s %s %s from %s, perhaps %v", e.Node, e.Port, strings.Split(to, " ")[0],
				exposure.ProtocolText(c.Protocol), exposure.Ranges{c.Port}.Text(), c.Sources, e.Maybe))
		}
	}
	slices.Sort(out)
	return out
}

// TestPlanAndState: what is reached of a plan is what is reached of what came of it.
func TestPlanAndState(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			plan := reached(Of(planned(t, name)))
			after, err := OfState(read[tfjson.State](t, name+".state.json"))
			if err != nil {
				t.Fatal(err)
			}
			state := reached(after)
			strip := func(all []string) map[string]int {
				out := map[string]int{}
				for _, s := range all {
					before, rest, _ := strings.Cut(s, " by ")
					_, rest, _ = strings.Cut(rest, " tcp ")
					out[before+" tcp "+rest]++
				}
				return out
			}
			if p, s := strip(plan), strip(state); len(p) == 0 || !maps.Equal(p, s) {
				t.Errorf("the plan says %v, and the state %v", p, s)
			}
		})
	}
}

// TestNamed: nothing that decides about the network is unknown in the examples.
func TestNamed(t *testing.T) {
	decides := []string{"vpc_id", "subnet_id", "subnet_ids", "route_table_id", "gateway_id", "nat_gateway_id", "allocation_id", "network_interface",
		"security_groups", "security_group_id", "referenced_security_group_id", "cidr_ipv4", "cidr_block", "subnets", "vpc_zone_identifier", "target_group_arn",
		"target_id", "load_balancer_arn", "autoscaling_group_name", "lb_target_group_arn", "launch_template", "network_interfaces", "primary_network_interface", "default_action"}
	for _, name := range examples {
		n := 0
		for _, r := range planned(t, name) {
			for _, attribute := range decides {
				if n++; vague(r.Values[attribute]) {
					t.Errorf("%s: %s of %s is unknown", name, attribute, r.Address)
				}
			}
		}
		t.Logf("%s: %d attributes", name, n)
	}
}

func vague(v any) bool {
	switch v := v.(type) {
	case symbol.Unknown:
		return true
	case []any:
		return slices.ContainsFunc(v, vague)
	case map[string]any:
		for _, inner := range v {
			if vague(inner) {
				return true
			}
		}
	}
	return false
}
