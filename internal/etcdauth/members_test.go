package etcdauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/calico"
)

// A machine that nobody has declared gets what every worker has, as soon as it has announced itself, and loses it when it is gone;
// what is declared, and what is damaged, is left alone.
func TestMembersComeAndGo(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	root := s.client(t, "root")
	want := scratchCalico(t, v1alpha1.NetworkPolicy{}, "w0")
	want.Members = true
	ensure(t, ctx, root)
	worker := s.client(t, "calico-node")

	following, stop := context.WithCancel(ctx)
	ended, told := make(chan error, 1), make(chan Change, 100)
	go func() { ended <- Follow(following, root, want, func(c Change) { told <- c }) }()
	await := func(what string, holds func() error) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for err := holds(); err != nil; err = holds() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v", what, err)
			}
			select {
			case <-told:
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	const member = "i-1.eu-west-1.compute.internal"
	await("what all share", func() error { return lacks(ctx, worker, "") })
	if err := lacks(ctx, worker, member); err == nil {
		t.Fatal("it has records before it was heard of")
	}
	announce := func(name, address string) {
		t.Helper()
		if _, err := worker.Put(ctx, nodes+name, fmt.Sprintf(`{"kind":"Node","metadata":{"name":%q},"spec":{"bgp":{"ipv4Address":%q}}}`, name, address)); err != nil {
			t.Fatal(err)
		}
	}
	announce("w0", "10.0.0.99/32")
	announce("damaged", "nowhere")
	announce(member, "10.0.0.7/32")
	await("the member's", func() error { return lacks(ctx, worker, member) })
	endpoint := resources + "hostendpoints/" + calico.HostEndpoint(member)
	kv, err := get(ctx, root, endpoint)
	if err != nil || !strings.Contains(string(kv.value), "10.0.0.7") {
		t.Errorf("its host endpoint: %s %v", kv.value, err)
	}
	if kv, err := get(ctx, root, resources+"hostendpoints/"+calico.HostEndpoint("w0")); err != nil || strings.Contains(string(kv.value), "10.0.0.99") {
		t.Errorf("a declared machine's is what it says of itself: %s %v", kv.value, err)
	}
	// `ashlar up` sees no drift in it, and another etcd machine writes nothing.
	if again, err := ObserveSeed(ctx, root, want); err != nil || len(again) != 0 {
		t.Errorf("differs: %v %v", again, err)
	}
	if _, err := root.Delete(ctx, nodes+member); err != nil {
		t.Fatal(err)
	}
	await("after its node is gone", func() error {
		if kv, err := get(ctx, root, endpoint); err != nil || kv.revision != 0 {
			return errors.Join(err, errors.New("there is a host endpoint of it"))
		}
		return nil
	})
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended by %v", err)
	}
	if response, err := root.Get(ctx, resources+"hostendpoints/", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || response.Count != 1 {
		t.Errorf("%d host endpoints, of the one machine that is declared: %v", response.Count, err)
	}
}
