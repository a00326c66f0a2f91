package etcdauth

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/testserver"
)

// inNamespace marks the copy of a test that runs in network and mount namespaces of its own.
const inNamespace = "ASHLAR_TEST_NAMESPACE"

// isolated runs the test again in new namespaces, and says whether this is that run.
func isolated(t *testing.T) bool {
	t.Helper()
	testserver.Bin(t, "calico-node")
	if os.Getenv(inNamespace) != "" {
		for _, command := range []string{
			"ip link set lo up",
			"ip link add eth0 type veth peer name eth1", "ip addr add 10.99.0.1/32 dev eth0", "ip link set eth0 up", "ip link set eth1 up",
			"mount -t tmpfs tmpfs /var/lib", "mount -t tmpfs tmpfs /run",
		} {
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
		}
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, for network and mount namespaces of its own")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "--propagation=private",
		os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// Calico's own programs find these permissions and this seed enough.
func TestCalicoStarts(t *testing.T) {
	if !isolated(t) {
		return
	}
	ctx, s := deadline(t), startEtcd(t)
	root := s.client(t, "root")
	want := scratchCalico(t, v1alpha1.NetworkPolicy{}, "w0")
	if seeded, err := Seed(ctx, root, want); err != nil || len(seeded) == 0 {
		t.Fatalf("Seed: %v %v", seeded, err)
	}
	ensure(t, ctx, root)
	s.client(t, "calico-node") // writes its files

	before := s.keys(t, ctx, root)
	s.calico(t, ctx, "-startup")
	s.calico(t, ctx, "-allocate-tunnel-addrs", "-allocate-tunnel-addrs-run-once")
	s.calico(t, ctx, "-startup") // as after a reboot
	s.felix(t, ctx)

	node, err := root.Get(ctx, resources+"nodes/w0")
	if err != nil || len(node.Kvs) != 1 || !strings.Contains(string(node.Kvs[0].Value), `"ipv4VXLANTunnelAddr":"10.64.`) {
		t.Errorf("no tunnel address: %v %v", node, err)
	}
	for key, revision := range s.keys(t, ctx, root) {
		if was, ok := before[key]; ok && was != revision {
			t.Errorf("%s was rewritten by a worker", key)
		}
	}
	if again, err := Seed(ctx, root, want); err != nil || len(again) != 0 {
		t.Errorf("a second Seed changed %v, %v", again, err)
	}
	if _, err := root.Delete(ctx, resources+"ippools/pods"); err != nil {
		t.Fatal(err)
	}
	if repaired, err := Seed(ctx, root, want); err != nil || len(repaired) != 1 {
		t.Errorf("deleted pool: %v %v", repaired, err)
	}
}

func (s *scratch) keys(t *testing.T, ctx context.Context, root *clientv3.Client) map[string]int64 {
	t.Helper()
	response, err := root.Get(ctx, "/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, kv := range response.Kvs {
		out[string(kv.Key)] = kv.ModRevision
	}
	return out
}

// command is calico-node as worker w0.
func (s *scratch) command(t *testing.T, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, testserver.Bin(t, "calico-node"), args...)
	cmd.Env = append(os.Environ(), "DATASTORE_TYPE=etcdv3", "ETCD_ENDPOINTS="+s.endpoint,
		"ETCD_CA_CERT_FILE="+s.path("ca.crt"), "ETCD_CERT_FILE="+s.path("calico-node.crt"), "ETCD_KEY_FILE="+s.path("calico-node.key"),
		"NODENAME=w0", "FELIX_FELIXHOSTNAME=w0", "IP=10.99.0.1/32", "IP6=none", "CALICO_NETWORKING_BACKEND=vxlan",
		"CALICO_MANAGE_CNI=false", "CALICO_DISABLE_FILE_LOGGING=true", "NO_DEFAULT_POOLS=true", "CALICO_STARTUP_LOGLEVEL=WARNING",
		"FELIX_IPTABLESBACKEND=NFT", "FELIX_IPV6SUPPORT=false", "FELIX_HEALTHENABLED=true", "FELIX_HEALTHHOST=127.0.0.1",
		"FELIX_LOGSEVERITYSCREEN=warning", "FELIX_LOGSEVERITYFILE=none", "FELIX_LOGSEVERITYSYS=none",
		"FELIX_USAGEREPORTINGENABLED=false", "FELIX_REPORTINGINTERVALSECS=0")
	return cmd
}

func (s *scratch) calico(t *testing.T, ctx context.Context, args ...string) {
	t.Helper()
	start := time.Now()
	if out, err := s.command(t, ctx, args...).CombinedOutput(); err != nil {
		t.Fatalf("calico-node %s: %v\n%s", args, err, out)
	}
	t.Logf("calico-node %s: %s", args, time.Since(start))
}

// felix runs until it says that it is ready: all it watches is in sync, and its rules are in the kernel.
func (s *scratch) felix(t *testing.T, ctx context.Context) {
	t.Helper()
	cmd := s.command(t, ctx, "-felix")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if strings.Contains(out.String(), "permission denied") || t.Failed() {
			t.Errorf("felix said:\n%s", out.String())
		}
	}()
	for ready := false; !ready; {
		select {
		case <-ctx.Done():
			t.Error("felix did not become ready")
			return
		case <-time.After(20 * time.Millisecond):
			response, err := http.Get("http://127.0.0.1:9099/readiness")
			if err == nil {
				ready = response.StatusCode < 300
				_ = response.Body.Close()
			}
		}
	}
	t.Logf("felix ready: %s", time.Since(start))
}
