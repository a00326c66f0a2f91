package etcdauth

import (
	"context"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// A worker waits for every part of what the etcd machines prepare, and says which is missing.
func TestAwait(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	root, worker := s.client(t, "root"), s.client(t, "calico-node")
	lacking := func(want string) {
		t.Helper()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := Await(short, worker, "w0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Await: %v, want %q", err, want)
		}
	}
	if _, err := worker.Get(ctx, "/"); err != nil { // the first may wait for an election
		t.Fatal(err)
	}
	lacking("access control is off")
	ensure(t, ctx, root)
	lacking("ippools/pods")
	if _, err := Seed(ctx, root, Calico{PodCIDR: "10.64.0.0/16", Workers: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	lacking("felixconfigurations/node.w0")
	if _, err := Seed(ctx, root, Calico{PodCIDR: "10.64.0.0/16", Workers: []string{"other", "w0"}}); err != nil {
		t.Fatal(err)
	}
	lacking("globalnetworkpolicies/ashlar.default")
	if _, err := Seed(ctx, root, scratchCalico(t, v1alpha1.NetworkPolicy{}, "other")); err != nil {
		t.Fatal(err)
	}
	lacking("hostendpoints/ashlar.w0")

	awaited := make(chan error, 1)
	go func() { awaited <- Await(ctx, worker, "w0") }()
	if _, err := Seed(ctx, root, scratchCalico(t, v1alpha1.NetworkPolicy{}, "other", "w0")); err != nil {
		t.Fatal(err)
	}
	if err := <-awaited; err != nil {
		t.Errorf("all is there: %v", err)
	}
}
