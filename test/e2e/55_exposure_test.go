package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
)

// declaredSurface is what the shared cluster's file makes public, as "node tcp port".
var declaredSurface = []string{"bastion-0 tcp 22", "public-lb-0 tcp 443"}

// TestExposure: the declared set is what the internet reaches: by proof, and by asking every port there is.
func TestExposure(t *testing.T) {
	var found struct {
		Declared []struct {
			Name, Node string
			Missing    []any
			Path       []struct{ Node, By, Says string }
		}
		Extra []any
	}
	out := ashlar(t, "exposure", "-o", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(found.Declared) != len(declaredSurface) || len(found.Extra) > 0 {
		t.Errorf("what is declared is not what is reached:\n%s", out)
	}
	for _, d := range found.Declared {
		if len(d.Missing) > 0 || len(d.Path) < 4 || d.Path[len(d.Path)-1].Node != d.Node {
			t.Errorf("%s: missing %v, path %v", d.Name, d.Missing, d.Path)
		}
	}
	for _, want := range []string{"tcp 22", "tcp 443", "198.51.100.0/24", "is taken to"} {
		if table := ashlar(t, "exposure"); !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	target := target(t)
	for vantage, want := range map[string][]string{provider.FromTrusted: declaredSurface, provider.FromInternet: nil} {
		began := time.Now()
		seen, err := target.Scan(t.Context(), vantage, claim.EveryPort())
		if err != nil {
			t.Fatal(err)
		}
		asked := len(seen.Public)*len(seen.PublicPorts) + len(seen.Private)*len(seen.PrivatePorts)
		t.Logf("from %s: %d ports of %d addresses in %s", vantage, asked, len(seen.Public)+len(seen.Private), time.Since(began).Round(time.Millisecond))
		if len(seen.Private) < len(target.Machines) {
			t.Errorf("only %v were asked", seen.Private)
		}
		if got := answered(target, seen); !slices.Equal(got, want) {
			t.Errorf("from %s: %v answered, want %v", vantage, got, want)
		}
	}
}

// answered are the ports that a scan heard of, by public address as the machine's that has it.
func answered(target *claim.Target, seen *claim.Scanned) []string {
	var out []string
	for _, a := range seen.Answers {
		name := a.Addr().String()
		for _, m := range target.Machines {
			if m.Public == a.Addr() {
				name = m.Name
			}
		}
		out = append(out, fmt.Sprintf("%s tcp %d", name, a.Port()))
	}
	for _, a := range seen.UDP {
		out = append(out, a.String()+" udp")
	}
	slices.Sort(out)
	return out
}

// TestExposureExtraRule: one rule too many is found by the proof, by the scan, and by the command.
func TestExposureExtraRule(t *testing.T) {
	target := target(t)
	i := slices.IndexFunc(target.Machines, func(m provider.Machine) bool { return m.Role == v1alpha1.RoleWorker })
	worker := target.Machines[i]
	fabricRule(fmt.Sprintf(`insert rule inet ashlar forward iifname "internet" ip daddr %s tcp dport 10250 accept comment "one too many"`, worker.Address))(t, target)
	out, code := try("exposure", "-f", file)
	if want := worker.Address.String() + " tcp 10250"; code != 2 || !strings.Contains(out, want) || !strings.Contains(out, "one too many") {
		t.Errorf("exit %d, without %q or the rule:\n%s", code, want, out)
	}
	for _, vantage := range []string{provider.FromTrusted, provider.FromInternet} {
		seen, err := target.Scan(t.Context(), vantage, []uint16{10250})
		if err != nil {
			t.Fatal(err)
		}
		if got := answered(target, seen); !slices.Contains(got, worker.Address.String()+" tcp 10250") {
			t.Errorf("from %s only %v answered", vantage, got)
		}
	}
}
