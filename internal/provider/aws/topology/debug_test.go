package topology

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/exposure"
)

func TestDebug(t *testing.T) {
	for _, name := range []string{"single", "ha"} {
		b, _ := os.ReadFile("/tmp/exp/" + name + "-plan.json")
		plan := &tfjson.Plan{}
		if err := json.Unmarshal(b, plan); err != nil {
			t.Fatal(err)
		}
		g, err := OfPlan(plan, os.DirFS("/tmp/exp/"+name))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range g.Nodes {
			fmt.Println(n.Kind, n.Name, n.Role, len(n.Attachments), n.Public)
		}
		for _, a := range g.Assumed {
			fmt.Println("ASSUMED", a)
		}
		s := exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6))
		for _, e := range s {
			for _, c := range e.Packets.Cells() {
				fmt.Println("REACHED", e.Node, e.Port, e.Maybe, g.Text(c.Destination.First()), exposure.ProtocolText(c.Protocol), exposure.Ranges{c.Port}.Text(), c.Sources)
			}
			for _, st := range e.Path {
				fmt.Println("    ", st)
			}
		}
	}
}
