package phase

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/local"
	"ashlar.dev/ashlar/internal/unit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// example is the cluster of one of the examples, with addresses for its machines.
func example(t *testing.T, name string) (*Cluster, []provider.Machine) {
	t.Helper()
	file := filepath.Join("..", "..", "examples", name+".yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := v1alpha1.Decode(b, file)
	if err != nil {
		t.Fatal(err)
	}
	var out []provider.Machine
	address := netip.MustParsePrefix(spec.Spec.Provider.Local.MachineCIDR).Addr()
	for _, m := range spec.Machines() {
		address = address.Next()
		out = append(out, provider.Machine{Name: m.Name, Role: m.Role, Address: address})
	}
	return &Cluster{Spec: spec, ID: "id"}, out
}

// TestRulesGolden shows to whoever reviews a change of the rules what it opens: each port of each machine, who may
// connect to it, and why.
func TestRulesGolden(t *testing.T) {
	for _, name := range []string{"local", "ha"} {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", "rules-"+name+".txt")
			c, machines := example(t, name)
			got := openings(Rules(c.Spec), machines)
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s (run with -update if that is right):\n%s", golden, diff)
			}
		})
	}
}

// openings lists who may connect where; a machine reaches itself without any rule.
func openings(rules []provider.Rule, machines []provider.Machine) []byte {
	slices.SortStableFunc(rules, func(a, b provider.Rule) int { return int(a.To.Port) - int(b.To.Port) })
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "TO\tPORT\tFROM\tWHY")
	for _, to := range append(slices.Clone(machines), provider.Machine{Name: string(provider.Outside), Role: provider.Outside}) {
		for _, r := range rules {
			from := sources(machines, r.From, to.Name)
			if r.To.Role == to.Role && from != "" {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", to.Name, portOf(r.To), from, r.Why)
			}
		}
	}
	_ = w.Flush()
	return b.Bytes()
}

func portOf(e provider.Endpoint) string {
	if e.Port == 0 {
		return "any"
	}
	return fmt.Sprintf("%s/%d", e.Protocol, e.Port)
}

func sources(machines []provider.Machine, role v1alpha1.Role, but string) string {
	if role == provider.Operator || role == provider.Trusted {
		return string(role)
	}
	var out []string
	for _, m := range machines {
		if m.Role == role && m.Name != but {
			out = append(out, m.Name)
		}
	}
	return strings.Join(out, " ")
}

// TestRulesLetNobodyElseIn: whatever is accepted between machines is accepted from addresses of machines only, to
// addresses of machines only.
func TestRulesLetNobodyElseIn(t *testing.T) {
	seen := map[string]bool{}
	ha, _ := example(t, "ha")
	for _, r := range Rules(ha.Spec) {
		from, to := slices.Contains(v1alpha1.Roles, r.From), slices.Contains(v1alpha1.Roles, r.To.Role)
		switch {
		case r.From == provider.Trusted && !r.To.Role.Public():
			t.Errorf("%q lets the internet connect to %q, which is not public", r.Why, r.To.Role)
		case !from && r.From != provider.Trusted && r.From != provider.Operator || !to && (r.To.Role != provider.Outside || !from || r.From.Public()):
			t.Errorf("%q lets %q connect to %q", r.Why, r.From, r.To.Role)
		}
		if r.To.Role != provider.Outside && (r.To.Port == 0 || r.To.Protocol != "tcp" && r.To.Protocol != "udp") || r.Why == "" {
			t.Errorf("%+v is not one port, or has no reason", r)
		}
		key := fmt.Sprint(r.From, r.To)
		if seen[key] {
			t.Errorf("%+v is there twice", r)
		}
		seen[key] = true
	}
	accept := regexp.MustCompile(`^(ct state established,related|[io]ifname "lo"|icmp type \{ destination-unreachable, time-exceeded \}` +
		`|(ip saddr @[a-z-]+ )?ip daddr @[a-z-]+ (tcp|udp) dport \d+` +
		`|iifname "internet" ct status dnat ip saddr @trusted ip daddr @(bastion|public-lb) tcp dport \d+` +
		`|ip saddr @[a-z-]+ oifname "internet" (tcp dport \d+|meta l4proto \{ tcp, udp \})` +
		`|iifname != "internet" ip daddr 169\.254\.169\.254 tcp dport 80) accept( comment "[^"]*")?$`)
	for _, name := range []string{"local", "ha"} {
		c, machines := example(t, name)
		var hook string
		accepted := 0
		for line := range strings.Lines(local.Ruleset(machines, c.network())) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "chain "):
				hook = strings.Fields(line)[1]
			case strings.HasPrefix(line, "type filter") && !strings.HasSuffix(line, "policy drop;"):
				t.Errorf("%s: what no rule decides passes: %s", name, line)
			case strings.HasPrefix(line, "elements"):
				for _, a := range regexp.MustCompile(`[0-9./]+`).FindAllString(line, -1) {
					if a != "198.51.100.0/24" && !slices.ContainsFunc(machines, func(m provider.Machine) bool { return m.Address.String() == a }) {
						t.Errorf("%s: %s is no machine's address", name, a)
					}
				}
			case slices.Contains(strings.Fields(line), "accept"):
				accepted++
				// Only the operator's own connections begin in the fabric.
				if strings.HasPrefix(line, "type nat") {
					accepted-- // its policy: nobody is let in by a translation
				} else if !accept.MatchString(line) || hook != "output" && strings.HasPrefix(line, "ip daddr") {
					t.Errorf("%s: chain %s lets anybody in: %s", name, hook, line)
				}
			}
		}
		if accepted < len(Rules(c.Spec)) {
			t.Errorf("%s: saw %d acceptances of %d", name, accepted, len(Rules(c.Spec)))
		}
	}
}

// need is a connection that something cannot do without.
type need struct {
	from     v1alpha1.Role
	endpoint provider.Endpoint
}

// unwritten are the needs that no unit's definition shows, since the address is learnt elsewhere.
func unwritten() map[need]string {
	tcp := func(role v1alpha1.Role, port uint16) provider.Endpoint {
		return provider.Endpoint{Role: role, Protocol: "tcp", Port: port}
	}
	out := map[need]string{
		{provider.Operator, tcp(v1alpha1.RoleVault, unit.PortVault)}:                                               "`up` writes to Vault",
		{provider.Operator, tcp(v1alpha1.RoleLB, unit.PortAPIServer)}:                                              "kubectl",
		{v1alpha1.RoleVault, tcp(v1alpha1.RoleVault, unit.PortVault)}:                                              "a Vault that joins is told by whom",
		{v1alpha1.RoleVault, tcp(v1alpha1.RoleVault, unit.PortVaultCluster)}:                                       "raft has its members' addresses in its state",
		{v1alpha1.RoleControlPlane, tcp(v1alpha1.RoleWorker, unit.PortKubelet)}:                                    "the API has its nodes' addresses",
		{v1alpha1.RoleWorker, provider.Endpoint{Role: v1alpha1.RoleWorker, Protocol: "udp", Port: unit.PortVXLAN}}: "felix has its peers' addresses",
	}
	for role, endpoint := range map[v1alpha1.Role]provider.Endpoint{v1alpha1.RoleWorker: {Role: provider.Outside}, v1alpha1.RoleHub: {Role: provider.Outside},
		v1alpha1.RoleVault: tcp(provider.Outside, 443), v1alpha1.RoleControlPlane: tcp(provider.Outside, 443)} {
		out[need{role, endpoint}] = "what lies outside"
	}
	out[need{provider.Trusted, tcp(v1alpha1.RoleBastion, unit.PortSSH)}] = "`ashlar ssh`"
	out[need{v1alpha1.RoleBastion, tcp(v1alpha1.RoleHub, unit.PortSSH)}] = "no example has a hub"
	out[need{provider.Trusted, tcp(v1alpha1.RolePublicLB, 443)}] = "the public service of examples/ha.yaml"
	for _, role := range v1alpha1.Roles {
		out[need{role, tcp(v1alpha1.RoleVault, unit.PortVault)}] = "the agent on " + string(role)
	}
	return out
}

var hostPort = regexp.MustCompile(`([A-Za-z0-9.-]+):([0-9]+)`)

// written are the needs that the units of all machines show: wherever one names another machine and a port.
func written(t *testing.T, c *Cluster, machines []provider.Machine) map[need]string {
	out := map[need]string{}
	for _, from := range machines {
		for _, u := range unit.For(c.desiredFor(from.Name, machines, trust{cas: map[unit.CA]string{unit.CAKubernetes: "PEM"}, ssh: &unit.SSH{}})) {
			text, err := json.Marshal(u)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range hostPort.FindAllStringSubmatch(string(text), -1) {
				i := slices.IndexFunc(machines, func(m provider.Machine) bool { return m.Name == match[1] || m.Address.String() == match[1] })
				port, err := strconv.ParseUint(match[2], 10, 16)
				if i < 0 || err != nil || machines[i].Name == from.Name {
					continue
				}
				out[need{from.Role, provider.Endpoint{Role: machines[i].Role, Protocol: "tcp", Port: uint16(port)}}] = u.Name + " on " + from.Name
			}
		}
	}
	return out
}

// TestRulesAreWhatUnitsNeed compares both ways: a need without a rule is a cluster that does not come up, a rule
// without a need an open door.
func TestRulesAreWhatUnitsNeed(t *testing.T) {
	c, machines := example(t, "ha")
	needs := written(t, c, machines)
	if len(needs) < 8 {
		t.Fatalf("only %d needs were found in the units: %v", len(needs), needs)
	}
	for n, why := range unwritten() {
		needs[n] = why
	}
	rules := map[need]string{}
	for _, r := range Rules(c.Spec) {
		rules[need{r.From, r.To}] = r.Why
	}
	for n, why := range needs {
		if _, ok := rules[n]; !ok {
			t.Errorf("%s needs %s of %s, which no rule allows", why, fmt.Sprint(n.endpoint.Protocol, "/", n.endpoint.Port), n.endpoint.Role)
		}
	}
	for n, why := range rules {
		if _, ok := needs[n]; !ok {
			t.Errorf("%s may connect to %+v (%s), and needs it for nothing", n.from, n.endpoint, why)
		}
	}
	// The small cluster needs no more than the large one.
	c, machines = example(t, "local")
	for n, why := range written(t, c, machines) {
		if _, ok := rules[n]; !ok {
			t.Errorf("%s needs %+v, which no rule allows", why, n.endpoint)
		}
	}
}
