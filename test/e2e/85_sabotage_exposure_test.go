package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"exp-surface", "one extra rule", fabricRule(
			`insert rule inet ashlar forward iifname "internet" ip daddr @worker tcp dport 10250 accept`)},
		sabotage{"exp-surface", "another way to the bastion, by an address that is not its own", fabricRuleTo(v1alpha1.RoleBastion,
			`insert rule inet ashlar prerouting iifname "internet" ip daddr 203.0.113.253 tcp dport 2222 dnat ip to ADDRESS:22`)},
		sabotage{"exp-surface", "a worker has a public address", fabricRuleTo(v1alpha1.RoleWorker,
			`insert rule inet ashlar prerouting iifname "internet" ip daddr 203.0.113.253 dnat ip to ADDRESS
insert rule inet ashlar forward iifname "internet" ct status dnat ip daddr ADDRESS accept`)},
		sabotage{"exp-surface", "the internet may pretend to be one of the machines", forgedSources},
		sabotage{"exp-surface", "a filter that is asked before all rules takes packets to a worker", earlyFilter},
		sabotage{"exp-surface", "the bastion passes on what comes to it", passedOn},
		sabotage{"exp-surface", "the trusted ranges are wider than declared", fabricRule(
			`add element inet ashlar trusted { 203.0.113.0/24 }`)},
		sabotage{"exp-trusted", "the trusted ranges are wider than declared", fabricRule(
			`add element inet ashlar trusted { 203.0.113.0/24 }`)},
		sabotage{"exp-trusted", "a rule does not ask who comes", fabricRule(
			`insert rule inet ashlar forward iifname "internet" ct status dnat ip daddr @bastion tcp dport 22 accept`)},
	)
}

// fabricRuleTo is fabricRule for a rule with the address of a machine of a role.
func fabricRuleTo(role v1alpha1.Role, rule string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		for _, m := range target.Machines {
			if m.Role == role {
				fabricRule(strings.ReplaceAll(rule, "ADDRESS", m.Address.String()))(t, target)
				return
			}
		}
		t.Fatalf("there is no machine of role %s", role)
	}
}

// earlyFilter sends packets from the internet on before any of nftables' hooks sees them. `up` knows nothing of such filters.
func earlyFilter(t *testing.T, target *claim.Target) {
	tc := func(args string) {
		t.Helper()
		var out []byte
		err := open(t).RunInside(provider.FromOperator, func() (err error) {
			out, err = exec.Command("tc", strings.Fields(args)...).CombinedOutput()
			return err
		})
		if err != nil {
			t.Fatalf("tc %s: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { tc("qdisc del dev internet clsact") })
	tc("qdisc add dev internet clsact")
	tc("filter add dev internet ingress protocol ip u32 match ip dport 2222 0xffff action mirred egress redirect dev " + target.Desired.WithRole(v1alpha1.RoleWorker)[0].Name)
}

// passedOn has the bastion send what comes to its sshd on to a worker's, under its own address.
func passedOn(t *testing.T, target *claim.Target) {
	const table = `table ip sabotage {
	chain prerouting { type nat hook prerouting priority dstnat; tcp dport 22 dnat to ADDRESS; }
	chain postrouting { type nat hook postrouting priority srcnat; masquerade; }
}`
	rules := strings.ReplaceAll(table, "ADDRESS", target.Desired.WithRole(v1alpha1.RoleWorker)[0].Address.String())
	t.Cleanup(func() { onRole(t, target, v1alpha1.RoleBastion, "nft delete table ip sabotage") })
	onRole(t, target, v1alpha1.RoleBastion, "set -e; echo 1 > /proc/sys/net/ipv4/ip_forward; nft '"+rules+"'")
}

// forgedSources has the fabric take packets from the internet whatever address they say they come from.
func forgedSources(t *testing.T, _ *claim.Target) {
	t.Cleanup(func() { ashlar(t, "up") })
	err := open(t).RunInside(provider.FromOperator, func() error {
		for _, link := range []string{"all", "internet"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+link+"/rp_filter", []byte("0"), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
