package local

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// TestEdge: the internet reaches what is public, at its public address, from where it is trusted; machines reach the
// internet as the NAT gateway, and what a cloud would tell them.
func TestEdge(t *testing.T) {
	p := testProvider(t)
	machines := up(t, p, append(slices.Clone(few), v1alpha1.Machine{Name: "bastion-0", Role: v1alpha1.RoleBastion}),
		append(slices.Clone(someRules), knock, outward)...)
	bastion, worker, lb := byRole(t, machines, v1alpha1.RoleBastion), byRole(t, machines, v1alpha1.RoleWorker), byRole(t, machines, v1alpha1.RoleLB)
	if bastion.Public != firstPublic || worker.Public.IsValid() {
		t.Fatalf("public addresses: bastion %s, worker %s", bastion.Public, worker.Public)
	}
	private := listen(t, p, bastion, 22)
	listen(t, p, bastion, 23)
	listen(t, p, worker, 22)
	listen(t, p, lb, 6443)
	outside := serve(t, p, provider.FromInternet, internetAddress.Addr(), 443)
	told := serve(t, p, provider.FromOperator, metadataService, metadataPort)
	public := bastion.Public.String()
	for _, c := range []struct{ name, from, to, said string }{
		{"the way in", provider.FromTrusted, public + ":22", "198.51.100.1"},
		{"the same by its private address", provider.FromTrusted, private, ""},
		{"another port of it", provider.FromTrusted, public + ":23", ""},
		{"an address that is not trusted", provider.FromInternet, public + ":22", ""},
		{"another machine", provider.FromTrusted, worker.Address.String() + ":22", ""},
		{"the load balancer", provider.FromTrusted, lb.Address.String() + ":6443", ""},
		{"the NAT gateway", provider.FromTrusted, natGateway.String() + ":22", ""},
		{"what a machine is told", provider.FromTrusted, told, ""},
		{"outward through NAT", worker.Name, outside, natGateway.String()},
		{"outward without a rule", lb.Name, outside, ""},
		{"outward from the bastion", bastion.Name, outside, ""},
		{"what a cloud tells", worker.Name, told, worker.Address.String()},
	} {
		said, _, err := dial(t, p, c.from, c.to)
		if said != c.said || (err == nil) != (c.said != "") {
			t.Errorf("%s: from %s to %s: heard %q, want %q: %v", c.name, c.from, c.to, said, c.said, err)
		}
	}

	// Addresses that nobody declared are named, and taken away.
	network := provider.Network{Rules: append(slices.Clone(someRules), knock, outward), Trusted: someTrusted}
	for _, c := range []struct{ namespace, address, link string }{
		{p.fabricNamespace(), "203.0.113.99/32", internetLink}, {p.internetNamespace(), "192.0.2.1/32", machineLink}} {
		err := inNamespace(c.namespace, func() error { return exec.Command("ip", "address", "add", c.address, "dev", c.link).Run() })
		if err != nil {
			t.Fatal(err)
		}
		drift, err := p.NetworkDrift(t.Context(), machines, network)
		if err != nil || len(drift) != 1 || !strings.Contains(drift[0].Cause, c.address) {
			t.Errorf("%s: %v, %v", c.address, drift, err)
		}
		if err := p.EnsureNetwork(t.Context(), machines, network); err != nil {
			t.Fatal(err)
		}
		if drift, err := p.NetworkDrift(t.Context(), machines, network); err != nil || len(drift) > 0 {
			t.Errorf("%s: after the repair: %v, %v", c.address, drift, err)
		}
	}
}

// serve listens at a vantage that is no machine.
func serve(t *testing.T, p *Provider, vantage string, at netip.Addr, port uint16) string {
	t.Helper()
	address := netip.AddrPortFrom(at, port).String()
	var l net.Listener
	err := p.RunIn(vantage, func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answer(l)
	return address
}

func TestTrustedAddress(t *testing.T) {
	for trusted, want := range map[string]string{
		"": "invalid IP", "198.51.100.0/24": "198.51.100.1", "192.0.2.7/32": "192.0.2.7", "0.0.0.0/0": "203.0.113.1",
	} {
		var prefixes []netip.Prefix
		if trusted != "" {
			prefixes = append(prefixes, netip.MustParsePrefix(trusted))
		}
		if got := trustedAddress(prefixes).String(); got != want {
			t.Errorf("%q: %s, want %s", trusted, got, want)
		}
	}
}
