package etcdauth

import (
	"net/netip"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/network"
)

// scratchCalico is what the overlay of a small cluster shall hold.
func scratchCalico(t *testing.T, policy v1alpha1.NetworkPolicy, workers ...string) Calico {
	t.Helper()
	facts := network.Facts{PodCIDR: netip.MustParsePrefix("10.64.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		MachineCIDR: netip.MustParsePrefix("10.99.0.0/24"), APIServer: netip.MustParseAddrPort("10.99.0.9:6443")}
	for i, w := range workers {
		facts.Workers = append(facts.Workers, network.Worker{Name: w, Address: netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)})})
	}
	compiled, err := network.Compile(policy, facts)
	if err != nil {
		t.Fatal(err)
	}
	return Calico{PodCIDR: facts.PodCIDR.String(), Workers: workers, Policy: calico.Of(compiled)}
}

// What is declared of pods is in etcd as a whole, mended where it differs, and nothing else of its kinds is there; workers
// read it, and write none of it.
func TestSeedPolicy(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	root, worker := s.client(t, userRoot), s.client(t, userNode)
	policy := v1alpha1.NetworkPolicy{
		Sets: []v1alpha1.AddressSet{{Name: "mirrors", CIDRs: []string{"198.51.100.0/24"}}},
		Rules: []v1alpha1.NetworkRule{{Name: "builds", From: v1alpha1.NetworkPeer{NamespaceLabels: map[string]string{"team": "build"}},
			To: v1alpha1.NetworkPeer{Set: "mirrors"}, Ports: []v1alpha1.NetworkPort{{Protocol: "TCP", Port: 443}}}},
	}
	seed := func(want Calico) []Change {
		t.Helper()
		differs, err := ObserveSeed(ctx, root, want)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := Seed(ctx, root, want)
		if err != nil || len(changes) != len(differs) {
			t.Fatalf("Seed: %v %v, observed before %v", changes, err, differs)
		}
		if again, err := Seed(ctx, root, want); err != nil || len(again) != 0 {
			t.Fatalf("a second Seed changed %v, %v", again, err)
		}
		return changes
	}
	one := func(changes []Change, want string) {
		t.Helper()
		if len(changes) != 1 || !strings.Contains(changes[0].String(), want) {
			t.Errorf("changed %v, want one: %s", changes, want)
		}
	}
	want := scratchCalico(t, policy, "w0", "w1")
	seed(want)
	before := s.keys(t, ctx, root)
	ensure(t, ctx, root)

	const defaultKey = resources + "globalnetworkpolicies/ashlar.default"
	for _, write := range []func() error{
		func() error { _, err := worker.Put(ctx, defaultKey, "{}"); return err },
		func() error { _, err := worker.Delete(ctx, resources+"hostendpoints/ashlar.w0"); return err },
		func() error {
			_, err := worker.Put(ctx, resources+"globalnetworksets/ashlar.mirrors", "{}")
			return err
		},
	} {
		if err := write(); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("a worker writes policy: %v", err)
		}
	}
	if read, err := worker.Get(ctx, defaultKey); err != nil || len(read.Kvs) != 1 {
		t.Errorf("a worker cannot read policy: %v", err)
	}

	if _, err := root.Delete(ctx, defaultKey); err != nil {
		t.Fatal(err)
	}
	one(seed(want), "ashlar.default is missing")
	if _, err := root.Put(ctx, resources+"globalnetworkpolicies/sabotage", `{"spec":{"order":1}}`); err != nil {
		t.Fatal(err)
	}
	one(seed(want), "sabotage is not declared")
	if _, err := root.Put(ctx, resources+"hostendpoints/ashlar.w1", string(document(want.Policy[0]))); err != nil {
		t.Fatal(err)
	}
	one(seed(want), "hostendpoints/ashlar.w1 differs")

	// Without the rule, its policy and its set go, and so does the machine that is gone; all at one revision.
	seed(scratchCalico(t, v1alpha1.NetworkPolicy{}, "w0"))
	for key := range before {
		response, err := root.Get(ctx, key, clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		gone := strings.Contains(key, "mirrors") || strings.Contains(key, "rule.builds") || strings.Contains(key, "hostendpoints/ashlar.w1")
		if gone != (len(response.Kvs) == 0) {
			t.Errorf("%s: %d left", key, len(response.Kvs))
		}
	}
}
