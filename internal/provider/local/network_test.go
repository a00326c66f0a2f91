package local

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

var (
	workerToLB   = provider.Rule{From: v1alpha1.RoleWorker, To: provider.Endpoint{Role: v1alpha1.RoleLB, Protocol: "tcp", Port: 6443}, Why: "nodes use the API"}
	operatorToLB = provider.Rule{From: provider.Operator, To: provider.Endpoint{Role: v1alpha1.RoleLB, Protocol: "tcp", Port: 6443}, Why: "kubectl"}
	someRules    = []provider.Rule{workerToLB, operatorToLB}
	someTrusted  = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
)

var (
	outward = provider.Rule{From: v1alpha1.RoleWorker, To: provider.Endpoint{Role: provider.Outside}, Why: "through NAT"}
	knock   = provider.Rule{From: provider.Trusted, To: provider.Endpoint{Role: v1alpha1.RoleBastion, Protocol: "tcp", Port: 22}, Why: "the way in"}
)

// prompt is how soon a refusal must be known. A lost packet is repeated only after a second.
const prompt = 500 * time.Millisecond

func byRole(t *testing.T, machines []provider.Machine, role v1alpha1.Role) provider.Machine {
	t.Helper()
	i := slices.IndexFunc(machines, func(m provider.Machine) bool { return m.Role == role })
	if i < 0 {
		t.Fatalf("no %s among %v", role, machines)
	}
	return machines[i]
}

func TestRules(t *testing.T) {
	p := testProvider(t)
	machines := up(t, p, few, someRules...)
	lb, cp, worker := byRole(t, machines, v1alpha1.RoleLB), byRole(t, machines, v1alpha1.RoleControlPlane), byRole(t, machines, v1alpha1.RoleWorker)
	api, other, kubelet := listen(t, p, lb, 6443), listen(t, p, lb, 22), listen(t, p, worker, 10250)
	operator := p.operatorAddress().String()
	for _, c := range []struct{ name, from, to, said string }{
		{"declared between roles", worker.Name, api, worker.Address.String()},
		{"declared for the operator", provider.FromOperator, api, operator},
		{"a machine and itself", lb.Name, api, lb.Address.String()},
		{"another port", worker.Name, other, ""},
		{"another role", cp.Name, api, ""},
		{"the other way round", lb.Name, kubelet, ""},
		{"the operator, another port", provider.FromOperator, other, ""},
		{"a machine to the operator", worker.Name, operator + ":6443", ""},
		{"a machine to its gateway", worker.Name, gateway.String() + ":6443", ""},
		{"a machine to the internet", worker.Name, internetAddress.Addr().String() + ":443", ""},
		{"a machine to anywhere", worker.Name, "8.8.8.8:53", ""},
		{"a machine to no machine", worker.Name, "10.42.7.200:53", ""},
		{"the operator to anywhere", provider.FromOperator, "8.8.8.8:53", ""},
	} {
		// More often than the kernel's limit of ICMP messages would let us know.
		for range 10 {
			said, took, err := dial(t, p, c.from, c.to)
			if said != c.said || (err == nil) != (c.said != "") {
				t.Errorf("%s: from %s to %s: heard %q, want %q: %v", c.name, c.from, c.to, said, c.said, err)
			}
			if took > prompt {
				t.Errorf("%s: from %s to %s: took %s: %v", c.name, c.from, c.to, took, err)
			}
		}
	}
	for _, to := range []string{api, kubelet, operator + ":6443", internetEdge.Addr().String() + ":6443"} {
		if said, _, err := dial(t, p, provider.FromInternet, to); err == nil {
			t.Errorf("the internet reached %s, which said %q", to, said)
		} else if !os.IsTimeout(err) && !strings.Contains(err.Error(), "timeout") {
			t.Errorf("the internet is told about %s: %v", to, err)
		}
	}
	if _, err := p.Dial(t.Context(), provider.FromOperator, "tcp", "localhost:80"); err == nil {
		t.Error("dialled a name")
	}
}

// A machine that takes the address of another gets nowhere with it.
func TestForgedAddress(t *testing.T) {
	p := testProvider(t)
	machines := up(t, p, few, workerToLB)
	lb, cp, worker := byRole(t, machines, v1alpha1.RoleLB), byRole(t, machines, v1alpha1.RoleControlPlane), byRole(t, machines, v1alpha1.RoleWorker)
	api := listen(t, p, lb, 6443)
	output(t, p, worker.Name, "ip address add 10.42.7.99/32 dev lo") // ip is there, and this does no harm
	output(t, p, cp.Name, "ip address add "+worker.Address.String()+"/32 dev lo; ip route replace default via 169.254.1.1 dev eth0 onlink src "+worker.Address.String())
	if said, _, err := dial(t, p, cp.Name, api); err == nil {
		t.Errorf("a control-plane machine reached the load balancer as a worker: %q", said)
	}
	if said, _, err := dial(t, p, worker.Name, api); err != nil || said != worker.Address.String() {
		t.Errorf("the worker itself: %q, %v", said, err)
	}
}

func TestTwoClustersWithTheSameNetwork(t *testing.T) {
	a, b := testProvider(t), testProvider(t)
	here, there := up(t, a, one, provider.Rule{From: provider.Operator, To: provider.Endpoint{Role: v1alpha1.RoleWorker, Protocol: "tcp", Port: 80}}), up(t, b, one)
	if here[0].Address != there[0].Address {
		t.Fatalf("addresses %s and %s", here[0].Address, there[0].Address)
	}
	address := listen(t, a, here[0], 80)
	if _, _, err := dial(t, a, provider.FromOperator, address); err != nil {
		t.Error(err)
	}
	listen(t, b, there[0], 80)
	if _, _, err := dial(t, b, provider.FromOperator, address); err == nil {
		t.Error("one cluster's rules serve the other")
	}
	if err := b.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := dial(t, a, provider.FromOperator, address); err != nil {
		t.Errorf("destroying one cluster hurt the other: %v", err)
	}
	if output(t, a, "worker-0", "cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -n 1") == "" {
		t.Error("the other cluster's machine has lost its cgroups")
	}
}

func TestNetworkDrift(t *testing.T) {
	p := testProvider(t)
	machines := up(t, p, few, someRules...)
	lb, worker := byRole(t, machines, v1alpha1.RoleLB), byRole(t, machines, v1alpha1.RoleWorker)
	api := listen(t, p, lb, 6443)
	fabric := func(args ...string) func() error {
		return func() error {
			return inNamespace(p.fabricNamespace(), func() error {
				if args[0] == "nft" {
					_, err := nft(t.Context(), "", args[1:]...)
					return err
				}
				return run(args...)
			})
		}
	}
	inWorker := func(args ...string) func() error {
		return func() error { return p.RunIn(worker.Name, func() error { return run(args...) }) }
	}
	check := func() []provider.Drift {
		start := time.Now()
		drift, err := p.NetworkDrift(t.Context(), machines, provider.Network{Rules: someRules, Trusted: someTrusted})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Logf("NetworkDrift took %s", took)
		}
		return drift
	}
	if drift := check(); len(drift) > 0 {
		t.Fatalf("drift of a new network: %v", drift)
	}
	for _, c := range []struct {
		name, want, machine string
		damage              func() error
	}{
		{"rules flushed", "security groups", "", fabric("nft", "flush", "ruleset")},
		{"a rule added", "security groups", "", fabric("nft", "insert", "rule", "inet", "ashlar", "forward", "accept")},
		{"a table added", "security groups", "", fabric("nft", "add", "table", "ip", "other")},
		{"an address added to a role", "security groups", "", fabric("nft", "add", "element", "inet", "ashlar", "worker", "{ 10.42.7.77 }")},
		{"forwarding off", "net/ipv4/ip_forward=1", "", fabric("sysctl", "-qw", "net.ipv4.ip_forward=0")},
		{"forged addresses let in", "rp_filter=1", "", fabric("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")},
		{"the operator's address gone", "address 10.42.7.1/32 on lo", "", fabric("ip", "address", "delete", "10.42.7.1/32", "dev", "lo")},
		{"a link deleted", "link lb-0", lb.Name, fabric("ip", "link", "delete", "lb-0")},
		{"a link down", "link lb-0", lb.Name, fabric("ip", "link", "set", "lb-0", "down")},
		{"a route deleted", "route to " + worker.Address.String() + "/32", worker.Name, fabric("ip", "route", "delete", worker.Address.String())},
		{"the machine's route deleted", "route to 0.0.0.0/0", worker.Name, inWorker("ip", "route", "delete", "default")},
		{"the machine's link deleted", "link eth0", worker.Name, inWorker("ip", "link", "delete", "eth0")},
		{"the machine's namespace unnamed", "has lost its name", worker.Name, func() error { return removeNamespace(p.machineNamespace(worker.Name)) }},
		{"the internet gone", "-internet is missing", "", func() error { return removeNamespace(p.internetNamespace()) }},
		{"the fabric gone", "-fabric is missing", "", func() error { return removeNamespace(p.fabricNamespace()) }},
	} {
		if err := c.damage(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		named := slices.ContainsFunc(check(), func(d provider.Drift) bool { return d.Machine == c.machine && strings.Contains(d.Cause, c.want) })
		if !named {
			t.Errorf("%s: not named, only %v", c.name, check())
		}
		start := time.Now()
		if err := p.EnsureNetwork(t.Context(), machines, provider.Network{Rules: someRules, Trusted: someTrusted}); err != nil {
			t.Fatalf("%s: repair: %v", c.name, err)
		}
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Logf("%s: repair took %s", c.name, took)
		}
		if drift := check(); len(drift) > 0 {
			t.Errorf("%s: after the repair: %v", c.name, drift)
		}
		if said, _, err := dial(t, p, worker.Name, api); err != nil || said != worker.Address.String() {
			t.Errorf("%s: after the repair: %q, %v", c.name, said, err)
		}
	}
}

func run(args ...string) error {
	pid, err := os.StartProcess(lookPath(args[0]), args, &os.ProcAttr{Files: []*os.File{nil, nil, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := pid.Wait()
	if err == nil && !state.Success() {
		err = errors.New(strings.Join(args, " ") + ": " + state.String())
	}
	return err
}

func lookPath(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return name
}

func TestPreflight(t *testing.T) {
	p := testProvider(t)
	before := traces(t, p)
	if problems := p.Preflight(t.Context(), nil); len(problems) > 0 {
		t.Errorf("this host is fit, but: %v", problems)
	}
	if diff := cmp.Diff(before, traces(t, p)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	if exists(p.Dir) {
		t.Error("made the state directory")
	}
	if _, err := p.Reserve(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	moved, err := New(Options{Cluster: p.Cluster, Dir: p.Dir, Bundle: t.TempDir(), MachineCIDR: netip.MustParsePrefix("10.99.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nowhere")
	var all []string
	for _, problem := range moved.Preflight(t.Context(), nil) {
		all = append(all, problem.Error())
	}
	said := strings.Join(all, "\n")
	for _, want := range []string{"10.99.0.0/24", "bin/runc", "bin/ashlar-init", "apt-get install conntrack haproxy ipset iptables nftables"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing about %s in:\n%s", want, said)
		}
	}
}

func TestRuleset(t *testing.T) {
	machines := []provider.Machine{
		{Name: "lb-0", Role: v1alpha1.RoleLB, Address: netip.MustParseAddr("10.42.7.11")},
		{Name: "worker-1", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.42.7.13")},
		{Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.42.7.12")},
	}
	machines = append(machines, provider.Machine{Name: "bastion-0", Role: v1alpha1.RoleBastion, Address: netip.MustParseAddr("10.42.7.14")})
	rules := append(slices.Clone(someRules), outward, knock, provider.Rule{
		From: v1alpha1.RoleWorker, To: provider.Endpoint{Role: v1alpha1.RoleWorker, Protocol: "udp", Port: 4789}, Why: "the pods' \"overlay\""})
	machines = withPublic(machines)
	want, err := os.ReadFile("testdata/ruleset.nft")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), Ruleset(machines, provider.Network{Rules: rules, Trusted: someTrusted})); diff != "" {
		t.Errorf("ruleset (-want +got):\n%s", diff)
	}
	slices.Reverse(machines)
	if diff := cmp.Diff(string(want), Ruleset(machines, provider.Network{Rules: rules, Trusted: someTrusted})); diff != "" {
		t.Errorf("the order of machines matters:\n%s", diff)
	}
}

// No reason for a rule can break out of its comment.
func TestRulesetIsLoadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces: run the tests with sudo")
	}
	rapid.Check(t, func(rt *rapid.T) {
		rule := workerToLB
		rule.Why = rapid.String().Draw(rt, "why")
		err := inScratch(unix.CLONE_NEWNET, func() error {
			_, err := nft(t.Context(), Ruleset(nil, provider.Network{Rules: []provider.Rule{rule}}), "-f", "-")
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func TestReserve(t *testing.T) {
	cidr := netip.MustParsePrefix("10.0.0.0/28") // .10 to .14
	machine := func(name string) v1alpha1.Machine {
		return v1alpha1.Machine{Name: name, Role: v1alpha1.RoleWorker}
	}
	have := []record{{Name: "b-0", Address: netip.MustParseAddr("10.0.0.11"), CIDR: cidr}}
	added, err := reserve(cidr, have, []v1alpha1.Machine{machine("b-0"), machine("a-0"), machine("c-0")})
	if err != nil || len(added) != 2 || added[0].Address.String() != "10.0.0.10" || added[1].Address.String() != "10.0.0.12" {
		t.Errorf("%v, %v", added, err)
	}
	for name, c := range map[string]struct {
		cidr netip.Prefix
		add  []v1alpha1.Machine
		want string
	}{
		"another network":   {netip.MustParsePrefix("10.0.1.0/28"), nil, "machines cannot move"},
		"full":              {cidr, []v1alpha1.Machine{machine("c-0"), machine("c-1"), machine("c-2"), machine("c-3"), machine("c-4")}, "no address left for machine c-4"},
		"a name that lies":  {cidr, []v1alpha1.Machine{machine("../b-0")}, "no DNS label"},
		"a name of nothing": {cidr, []v1alpha1.Machine{machine("")}, "no DNS label"},
	} {
		if _, err := reserve(c.cidr, have, c.add); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestFabricLink(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"lb-0", "control-plane-0", "control-plane-10", "control-plane-11", "internet", "lo", strings.Repeat("x", 60) + "-0"} {
		link := fabricLink(name)
		if len(link) > maxLinkName || link == internetLink || link == "lo" || seen[link] != "" {
			t.Errorf("link of %s is called %s, as is that of %q", name, link, seen[link])
		}
		seen[link] = name
	}
}
