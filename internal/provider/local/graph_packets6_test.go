package local

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// filters6 are rulesets of a fabric in which somebody has turned IPv6 on. W and B are the addresses of two machines.
var filters6 = []struct{ name, prerouting, forward string }{
	{name: "nothing"},
	{name: "everything", forward: `accept`},
	{name: "IPv4 only", forward: `meta nfproto ipv4 accept`},
	{name: "a port of the family", forward: `meta nfproto ipv6 udp dport 22 accept`},
	{name: "an address", forward: `ip6 daddr W accept`},
	{name: "a prefix, but one", forward: `ip6 daddr W drop; ip6 daddr 2001:db8:2::/64 udp dport { 53, 8080 } accept`},
	{name: "a source", forward: `ip6 saddr 2001:db8:1::99 accept`},
	{name: "translated", prerouting: `ip6 daddr B udp dport 22 dnat ip6 to W`, forward: `ct status dnat accept`},
	{name: "by its link", forward: `iifname "internet" oifname "worker-0" accept`},
}

// withIPv6 gives the fabric, two machines and the internet addresses of IPv6, and routes between them.
func withIPv6(t *testing.T, p *Provider, bastion, worker provider.Machine) (b, w netip.Addr) {
	t.Helper()
	b, w = netip.MustParseAddr("2001:db8:2::b"), netip.MustParseAddr("2001:db8:2::c")
	var script strings.Builder
	script.WriteString("set -e\n")
	in := func(ns, command string, args ...any) {
		fmt.Fprintf(&script, "nsenter --net=/run/netns/%s %s\n", ns, fmt.Sprintf(command, args...))
	}
	turnOn := func(ns string) {
		// Of links that are there already each has a switch of its own.
		in(ns, `sh -c 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 0 > $f; done'`)
	}
	fabric, internet := p.fabricNamespace(), p.internetNamespace()
	turnOn(fabric)
	turnOn(internet)
	in(fabric, "sysctl -q -w net.ipv6.conf.all.forwarding=1")
	in(fabric, "ip -6 address add 2001:db8:1::1/64 dev %s nodad", internetLink)
	link := linkOf(t, p.internetNamespace())
	in(internet, "ip -6 address add 2001:db8:1::2/64 dev %s nodad", link)
	in(internet, "ip -6 address add 2001:db8:1::99/64 dev %s nodad", link)
	in(internet, "ip -6 route add 2001:db8:2::/64 via 2001:db8:1::1")
	for m, address := range map[string]netip.Addr{bastion.Name: b, worker.Name: w} {
		ns := p.machineNamespace(m)
		turnOn(ns)
		in(fabric, "ip -6 address add fe80::1/64 dev %s nodad", m)
		in(fabric, "ip -6 route add %s/128 dev %s", address, m)
		own := linkOf(t, ns)
		in(ns, "ip -6 address add %s/128 dev %s nodad", address, own)
		in(ns, "ip -6 route add default via fe80::1 dev %s", own)
	}
	if out, err := exec.Command("sh", "-c", script.String()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script.String())
	}
	return b, w
}

// linkOf is the one link of a namespace that leads out.
func linkOf(t *testing.T, ns string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net=/run/netns/"+ns, "sh", "-c", "ls /proc/sys/net/ipv4/conf").Output()
	if err != nil {
		t.Fatal(err)
	}
	links := slices.DeleteFunc(strings.Fields(string(out)), func(l string) bool { return l == "all" || l == "default" || l == "lo" })
	if len(links) != 1 {
		t.Fatalf("%s has the links %v, want one", ns, links)
	}
	return links[0]
}

// TestGraphAgainstIPv6Packets: machines have none by Ashlar. Where somebody gives it to them, the graph says what it opens.
func TestGraphAgainstIPv6Packets(t *testing.T) {
	p, machines := wired(t, guarded, provider.Network{Trusted: someTrusted})
	bastion, worker := byRole(t, machines, v1alpha1.RoleBastion), byRole(t, machines, v1alpha1.RoleWorker)
	b, w := withIPv6(t, p, bastion, worker)
	arrived := receivers(t, p, machines, "udp6")
	names := strings.NewReplacer(" B", " "+b.String(), " W", " "+w.String())
	var packets []exposure.Packet
	for _, from := range []string{"2001:db8:1::2", "2001:db8:1::99"} {
		for _, to := range []netip.Addr{b, w} {
			for _, port := range probePorts {
				packets = append(packets, exposure.Packet{Source: netip.MustParseAddr(from), Destination: to, Protocol: exposure.UDP, Port: port})
			}
		}
	}
	reached := 0
	for _, f := range filters6 {
		rules := names.Replace(fmt.Sprintf(`flush ruleset
table inet test {
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; %s; }
	chain forward { type filter hook forward priority filter; policy drop; %s; }
	chain input { type filter hook input priority filter; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
}
`, f.prerouting, f.forward))
		if err := loadRules(t.Context(), p.fabricNamespace(), strings.ReplaceAll(rules, "; ; }", "; }")); err != nil {
			t.Fatalf("%s: %v\n%s", f.name, err, rules)
		}
		sure, perhaps := predicted(surfaceOf(t, p), packets)
		got := sendAll(t, p, packets, arrived, sure)
		if !slices.Equal(got, sure) || len(perhaps) != len(sure) {
			t.Errorf("%s:\npackets %v\ngraph   %v\nperhaps %v", f.name, got, sure, perhaps)
		}
		reached += len(got)
	}
	if reached == 0 {
		t.Error("no packet arrived at all: nothing was compared")
	}
}
