package etcdauth

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

// Calico's controllers bring the baseline's policies from the API to the overlay's etcd: with this layout on one
// side and the baseline's own RBAC on the other, and nothing more.
func TestPolicyReachesTheOverlay(t *testing.T) {
	ctx, s := deadline(t), startEtcd(t)
	root := s.client(t, userRoot)
	if _, err := Seed(ctx, root, Calico{PodCIDR: "10.64.0.0/16"}); err != nil {
		t.Fatal(err)
	}
	ensure(t, ctx, root)
	s.client(t, userKubeControllers) // writes its files

	server := testserver.StartAPI(t, []string{unit.GroupCalico})
	objects, err := baseline.Objects(baseline.Input{DNSServiceIP: netip.MustParseAddr("10.96.0.10"), ClusterDomain: "cluster.local",
		APIServer: netip.MustParseAddr("10.10.0.5"), CoreDNSImage: "coredns", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := baseline.Apply(ctx, server.Admin, objects); err != nil {
		t.Fatal(err)
	}
	testserver.Run(t, []string{"DATASTORE_TYPE=etcdv3", "ETCD_ENDPOINTS=" + s.endpoint,
		"ETCD_CA_CERT_FILE=" + s.path("ca.crt"), "ETCD_CERT_FILE=" + s.path(userKubeControllers+".crt"), "ETCD_KEY_FILE=" + s.path(userKubeControllers+".key"),
		"ENABLED_CONTROLLERS=policy,namespace,serviceaccount,workloadendpoint,node", "COMPACTION_PERIOD=0", "HEALTH_ENABLED=false",
		"SYNC_NODE_LABELS=false", "RECONCILER_PERIOD=5m", "LOG_LEVEL=warning", "KUBECONFIG=" + testserver.Kubeconfig(t, server.As(unit.GroupCalico))},
		"kube-controllers", "-status-file="+s.path("status.json"))

	start := time.Now()
	for _, key := range []string{
		resources + "networkpolicies/kube-system/knp.default.default-deny",
		resources + "networkpolicies/kube-system/knp.default.coredns",
		resources + "profiles/kns.kube-system",
		resources + "profiles/ksa.default.default",
	} {
		testserver.Eventually(t, key, func() bool {
			response, err := root.Get(ctx, key)
			return err == nil && len(response.Kvs) == 1
		})
	}
	t.Logf("policy is there %s after the controllers' start", time.Since(start))
	const own = resources + "kubecontrollersconfigurations/default"
	testserver.Eventually(t, own+" with a status", func() bool {
		response, err := root.Get(ctx, own)
		return err == nil && len(response.Kvs) == 1 && strings.Contains(string(response.Kvs[0].Value), "runningConfig")
	})
}
