package etcdauth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func ensure(t *testing.T, ctx context.Context, root *clientv3.Client) []string {
	t.Helper()
	changes, err := Ensure(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestEnsureIsIdempotentAndRepairs(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	root := s.client(t, "root")
	if first := ensure(t, ctx, root); len(first) == 0 {
		t.Fatal("nothing changed in an empty etcd")
	}
	start := time.Now()
	if again := ensure(t, ctx, root); len(again) != 0 {
		t.Fatalf("a second run changed something:\n%s", strings.Join(again, "\n"))
	}
	t.Logf("second run: %s", time.Since(start))

	for name, test := range map[string]struct {
		sabotage func() error
		names    string
	}{
		"extra permission": {func() error {
			_, err := root.RoleGrantPermission(ctx, userNode, "/calico/", clientv3.GetPrefixRangeEnd("/calico/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		}, "role calico-node may also read and write /calico/*"},
		"wider access": {func() error {
			_, err := root.RoleGrantPermission(ctx, userNode, resources, clientv3.GetPrefixRangeEnd(resources), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		}, "role calico-node may not read " + resources + "*"},
		"extra role": {func() error { _, err := root.UserGrantRole(ctx, userNode, userRoot); return err },
			"user calico-node has role root"},
		"unknown user": {func() error {
			_, err := root.UserAddWithOptions(ctx, "eve", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		}, "unknown user eve"},
		"missing user": {func() error { _, err := root.UserDelete(ctx, userKubeControllers); return err },
			"no user calico-kube-controllers"},
		"switched off": {func() error { _, err := root.AuthDisable(ctx); return err }, "access control is off"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.sabotage(); err != nil {
				t.Fatal(err)
			}
			if named := strings.Join(ensure(t, ctx, root), "\n"); !strings.Contains(named, test.names) {
				t.Errorf("%q not among\n%s", test.names, named)
			}
			if again := ensure(t, ctx, root); len(again) != 0 {
				t.Errorf("not repaired: %s", again)
			}
		})
	}
}

func TestWhoMayWriteWhat(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	ensure(t, ctx, s.client(t, "root"))
	for _, test := range []struct {
		user, kind string
		allowed    bool
	}{
		{"calico-node", resources + "nodes/w0", true},
		{"calico-node", resources + "workloadendpoints/default/w0-k8s-p-eth0", true},
		{"calico-node", ipam + "handle/h", true},
		{"calico-node", ipam + "config", false},
		{"calico-node", resources + "networkpolicies/default/knp.default.p", false},
		{"calico-node", resources + "globalnetworkpolicies/p", false},
		{"calico-node", resources + "profiles/kns.default", false},
		{"calico-node", resources + "ippools/pods", false},
		{"calico-node", resources + "hostendpoints/h", false},
		{"calico-node", resources + "globalnetworksets/s", false},
		{"calico-node", resources + "felixconfigurations/default", false},
		{"calico-node", resources + "clusterinformations/default", false},
		{"calico-node", "/registry/secrets", false},
		{"calico-kube-controllers", resources + "networkpolicies/default/knp.default.p", true},
		{"calico-kube-controllers", resources + "profiles/kns.default", true},
		{"calico-kube-controllers", resources + "globalnetworkpolicies/p", false},
		{"calico-kube-controllers", resources + "felixconfigurations/default", false},
		{"worker-0", resources + "nodes/w0", false}, // no such user, though the certificate is good
	} {
		_, err := s.client(t, test.user).Put(ctx, test.kind, "{}")
		if denied := errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserNotFound); test.allowed && err != nil || !test.allowed && !denied {
			t.Errorf("%s puts %s: allowed %v wanted, got %v", test.user, test.kind, test.allowed, err)
		}
	}
	// Everybody reads policy, nobody else's administration.
	node := s.client(t, "calico-node")
	if _, err := node.Get(ctx, resources, clientv3.WithPrefix()); err != nil {
		t.Errorf("calico-node reads resources: %v", err)
	}
	if _, err := node.AuthDisable(ctx); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("calico-node switches access control off: %v", err)
	}
}
