package v1alpha1

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// What Validate lets through is what the rest of Ashlar relies on, whatever was declared.
func TestValidMeansValid(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		Default(c)
		if errs := Validate(c); len(errs) > 0 {
			for _, e := range errs {
				if e.Path == "" || e.Message == "" {
					t.Fatalf("an error without a field or a message: %+v", e)
				}
			}
			return
		}
		accepted++
		machines := c.Machines()
		names, ofRole := map[string]bool{}, map[Role]int{}
		for _, m := range machines {
			names[m.Name] = true
			ofRole[m.Role]++
		}
		if len(names) != len(machines) {
			t.Fatalf("two machines have the same name: %v", machines)
		}
		legal := []int{1, 3, 5}
		if !slices.Contains(legal, ofRole[RoleVault]) || !slices.Contains(legal, ofRole[RoleEtcd]) || ofRole[RoleLB] != 1 ||
			ofRole[RoleControlPlane] < 1 || ofRole[RoleWorker] < 1 || len(machines) > MaxMachines {
			t.Fatalf("illegal counts: %v", ofRole)
		}
		checkRanges(t, c, len(machines))
	})
	t.Logf("%d were valid", accepted)
	if accepted == 0 {
		t.Error("nothing drawn was valid: the test tests nothing")
	}
}

func checkRanges(t *rapid.T, c *Cluster, machines int) {
	ranges := []string{c.Spec.Provider.Local.MachineCIDR, c.Spec.Network.PodCIDR, c.Spec.Network.ServiceCIDR}
	for i, a := range ranges {
		p := netip.MustParsePrefix(a)
		for _, b := range ranges[:i] {
			other := netip.MustParsePrefix(b)
			if p.Contains(other.Addr()) || other.Contains(p.Addr()) {
				t.Fatalf("%s and %s overlap", a, b)
			}
		}
		for _, never := range []string{"127.0.0.1", "169.254.169.254", "203.0.113.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"} {
			if p.Contains(netip.MustParseAddr(never)) {
				t.Fatalf("%s contains %s", a, never)
			}
		}
	}
	network := netip.MustParsePrefix(ranges[0])
	address := network.Addr().Next() // the operator's
	for range machines {
		address = address.Next()
	}
	if !network.Contains(address.Next()) { // the broadcast address at the latest
		t.Fatalf("%s has no room for %d machines", network, machines)
	}
}

// drawCluster makes mostly legal choices, with a trap among them now and then.
func drawCluster(t *rapid.T) *Cluster {
	trap := func(name string) bool { return rapid.IntRange(0, 9).Draw(t, name) == 7 }
	cidr := func(name string, second byte, bits int) string {
		address := [4]byte{10, second, 0, 0}
		if trap(name + " elsewhere") {
			address[0] = rapid.SampledFrom([]byte{0, 127, 169, 203, 224, 255}).Draw(t, name+" first octet")
		}
		if trap(name + " near another") {
			address[1] = rapid.SampledFrom([]byte{0, 90, 96, 128, 254}).Draw(t, name+" second octet")
			address[2] = rapid.SampledFrom([]byte{0, 113, 255}).Draw(t, name+" third octet")
		}
		if trap(name + " of another size") {
			bits = rapid.IntRange(0, 32).Draw(t, name+" bits")
		}
		p := netip.PrefixFrom(netip.AddrFrom4(address), bits)
		if !trap(name + " with host bits") {
			p = p.Masked()
		}
		return p.String()
	}
	c := &Cluster{APIVersion: APIVersion, Kind: Kind, Metadata: Metadata{Name: "demo"}, Spec: Spec{
		Provider: Provider{Local: &Local{MachineCIDR: cidr("machines", 90, 22)}},
		Network:  Network{PodCIDR: cidr("pods", 128, 16), ServiceCIDR: cidr("services", 96, 16)},
		Pools:    []Pool{{Name: "cp", Role: RoleControlPlane, Count: 1}, {Name: "a", Role: RoleWorker, Count: 2}},
	}}
	names := rapid.SampledFrom([]string{"a", "b", "c", "a-0", "a-1", "a-1-0", "worker", "etcd", "vault", "lb"})
	counts := rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 20, 300, 0, -1, 1 << 62})
	for range rapid.IntRange(0, 3).Draw(t, "more pools") {
		c.Spec.Pools = append(c.Spec.Pools, Pool{Name: names.Draw(t, "name"), Role: rapid.SampledFrom(Roles).Draw(t, "role"), Count: counts.Draw(t, "count")})
	}
	return c
}

func TestTTLBounds(t *testing.T) {
	for _, test := range []struct {
		leaf, ca, token, admin time.Duration
		wrong                  int
	}{
		{15 * time.Minute, 16 * time.Minute, 30 * time.Second, 5 * time.Minute, 0},
		{24 * time.Hour, 24*time.Hour + time.Second, time.Hour, 24 * time.Hour, 0},
		{15*time.Minute - time.Second, 48 * time.Hour, time.Minute, time.Hour, 1},
		{24 * time.Hour, 24 * time.Hour, time.Minute, time.Hour, 1},
		{time.Hour, 48 * time.Hour, 29 * time.Second, time.Hour, 1},
		{time.Hour, 48 * time.Hour, time.Hour + time.Second, time.Hour, 1},
		{time.Hour, 48 * time.Hour, time.Minute, 5*time.Minute - time.Second, 1},
		{time.Hour, 48 * time.Hour, time.Minute, 24*time.Hour + time.Second, 1},
		{time.Hour + time.Millisecond, 48 * time.Hour, time.Minute, time.Hour, 1},
	} {
		var errs Errors
		errs.pki(PKI{LeafTTL: metav1.Duration{Duration: test.leaf}, CATTL: metav1.Duration{Duration: test.ca},
			InitTokenTTL: metav1.Duration{Duration: test.token}, AdminTTL: metav1.Duration{Duration: test.admin}})
		if len(errs) != test.wrong {
			t.Errorf("%+v: got %v", test, errs)
		}
	}
}

func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"a": true, "0": true, "a-b": true, "a--b": true, "control-plane": true, "": false, "-": false, "a-": false, "-a": false, "A": false,
		"a.b": false, "a_b": false, "ä": false, "a\n": false, " a": false, "control-planes": false,
	} {
		var errs Errors
		errs.name("name", name, maxPoolName)
		if (len(errs) == 0) != valid {
			t.Errorf("%q: got %v, want valid %t", name, errs, valid)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"count", "name", "role", "leafTTL", "podCIDR"}
	for misspelt, want := range map[string]string{
		"cuont": "count", "counts": "count", "COUNT": "count", "nmae": "name", "leafttl": "leafTTL", "podCidr": "podCIDR",
		"taints": "", "replicas": "", "x": "", "": "", "<<": "",
	} {
		if got := nearest(misspelt, words); got != want {
			t.Errorf("%q: got %q, want %q", misspelt, got, want)
		}
	}
}

func ExampleErrors() {
	fmt.Println(Errors{{File: "cluster.yaml", Line: 12, Path: "spec.pools[1].count", Message: "must be 1, 3 or 5, not 2"}, {Message: "is empty"}})
	// Output:
	// cluster.yaml:12: spec.pools[1].count: must be 1, 3 or 5, not 2
	// is empty
}
