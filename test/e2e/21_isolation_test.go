package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
)

// isolationPolicy declares something of each kind.
const isolationPolicy = `  network:
    policy:
      open:
        - labels: {isolation: open}
      sets:
        - {name: outside, cidrs: [203.0.113.0/29, 192.0.2.0/24]}
      rules:
        - name: shop-to-orders
          from: {namespace: iso-shop, podLabels: {app: web}}
          to: {namespace: iso-orders, podLabels: {app: api}}
          ports: [{port: 8080}]
        - {name: builds-to-outside, from: {namespaceLabels: {team: iso-build}}, to: {set: outside}, ports: [{port: 8492}]}
        - {name: builds-to-api, from: {namespaceLabels: {team: iso-build}}, to: {api: true}}
        - {name: everywhere-to-builds, from: {namespace: "*"}, to: {namespaceLabels: {team: iso-build}, podLabels: {app: cache}}, ports: [{port: 8080, endPort: 8080}]}
      metadata:
        - {namespace: iso-build, podLabels: {app: cache}}
`

// isolationPod serves two ports, and connects when told to.
const isolationPod = `
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s}}
spec:
  nodeName: %[3]s
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[4]s
    imagePullPolicy: Never
    args: [probe, serve, ":8080", ":8081"]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// TestIsolation declares on a cluster that runs what pods may reach, sees that this is what they reach, and takes it back.
func TestIsolation(t *testing.T) {
	image := importImage(t, "ashlar")
	declared := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(declared, []byte(clusterFile(name)+isolationPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "up") })
	up(t, declared)
	pods := map[string]string{} // address by name
	for i, p := range []struct{ namespace, label, app string }{
		{"iso-shop", "team: iso-shop", "web"}, {"iso-shop", "", "batch"}, {"iso-orders", "team: iso-orders", "api"}, {"iso-orders", "", "db"},
		{"iso-build", "team: iso-build", "cache"}, {"iso-build", "", "builder"}, {"iso-open", "isolation: open", "free"}, {"iso-open", "", "shut"},
	} {
		if p.label != "" {
			t.Cleanup(func() { kubectl(t, "delete", "namespace", p.namespace, "--wait=false", "--ignore-not-found") })
			apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s, pod-security.kubernetes.io/enforce: restricted}}}`, p.namespace, p.label))
			kubectl(t, "wait", "serviceaccount/default", "--namespace="+p.namespace, "--for=create", "--timeout=30s")
		}
		apply(t, fmt.Sprintf(isolationPod, p.namespace, p.app, fmt.Sprintf("worker-%d", i%2), image))
	}
	for _, pod := range []string{"iso-shop/web", "iso-shop/batch", "iso-orders/api", "iso-orders/db", "iso-build/cache", "iso-build/builder", "iso-open/free", "iso-open/shut"} {
		namespace, podName, _ := strings.Cut(pod, "/")
		kubectl(t, "wait", "pod/"+podName, "--namespace="+namespace, "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
		pods[pod] = kubectl(t, "get", "pod/"+podName, "--namespace="+namespace, "-o", "jsonpath={.status.podIP}")
	}
	p := open(t).Provider
	for _, at := range [][2]string{{provider.FromInternet, ":8492"}, {provider.FromInternet, ":8493"}, {provider.FromOperator, "169.254.169.254:80"}} {
		serve(t, p, at[0], at[1])
	}
	lb := machine(t, "lb-0")
	reaches := func(t *testing.T, want map[string][]string) {
		t.Helper()
		places := map[string]string{"internet:8492": "203.0.113.1:8492", "internet:8493": "203.0.113.1:8493", "metadata": "169.254.169.254:80",
			"api": lb + ":6443", "vault": machine(t, "vault-0") + ":8200"}
		for pod, address := range pods {
			places[pod+":8080"], places[pod+":8081"] = address+":8080", address+":8081"
		}
		eventually(t, 20*time.Second, func() error {
			var g errgroup.Group
			for from := range pods {
				g.Go(func() error { return reachesJust(from, places, want[from]) })
			}
			return g.Wait()
		})
	}
	cache := "iso-build/cache:8080"
	open := []string{"iso-open/free:8080", "iso-open/free:8081", "iso-open/shut:8080", "iso-open/shut:8081"}
	free := append([]string{cache, "internet:8492", "internet:8493", "api"}, open...)
	want := map[string][]string{
		"iso-shop/web": {"iso-orders/api:8080", cache}, "iso-shop/batch": {cache}, "iso-orders/api": {cache}, "iso-orders/db": {cache},
		"iso-build/cache": {cache, "internet:8492", "api", "metadata"}, "iso-build/builder": {cache, "internet:8492", "api"},
		"iso-open/free": free, "iso-open/shut": free,
	}
	t.Run("as declared", func(t *testing.T) { reaches(t, want) })
	t.Run("NetworkPolicies mean in an open namespace what they mean anywhere", func(t *testing.T) {
		apply(t, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: shut, namespace: iso-open},
  spec: {podSelector: {matchLabels: {app: shut}}, policyTypes: [Ingress]}}`)
		shut := append([]string{cache, "internet:8492", "internet:8493", "api"}, open[:2]...)
		want["iso-open/free"], want["iso-open/shut"] = shut, shut
		reaches(t, want)
	})
	t.Run("users add to what is declared, and not to the machines", func(t *testing.T) {
		apply(t, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: out, namespace: iso-shop},
  spec: {podSelector: {matchLabels: {app: batch}}, policyTypes: [Egress], egress: [{}]}}`)
		want["iso-shop/batch"] = append([]string{cache, "internet:8492", "internet:8493", "api"}, open[:2]...)
		reaches(t, want)
	})
	t.Run("no pod borrows the labels of a namespace", func(t *testing.T) {
		borrowed := strings.Replace(fmt.Sprintf(isolationPod, "iso-shop", "thief", "worker-0", image), "labels: {", "labels: {pcns.isolation: open, ", 1)
		if out, code := tryWith(borrowed, "-f", file, "kubectl", "--", "apply", "-f", "-"); code == 0 || !strings.Contains(out, "the pod network's own") {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	t.Run("drift is named and repaired", func(t *testing.T) {
		const rule = "globalnetworkpolicies/ashlar.rule.builds-to-outside.egress"
		overlay(t, target(t), "del", calico.Resources+rule)
		if out, code := try("plan", "-f", declared); code != 2 || !strings.Contains(out, rule) {
			t.Errorf("plan: exit %d\n%s", code, out)
		}
		up(t, declared)
		reaches(t, want)
	})
	t.Run("taken back", func(t *testing.T) {
		up(t, file)
		for from := range want {
			want[from] = nil
		}
		want["iso-shop/batch"] = []string{"internet:8492", "internet:8493", "api"}
		reaches(t, want)
		if out, code := try("plan", "-f", file); code != 0 {
			t.Errorf("plan: exit %d\n%s", code, out)
		}
	})
}

// up converges to a file.
func up(t *testing.T, file string) {
	t.Helper()
	began := time.Now()
	if out, code := try("up", "-f", file); code != 0 {
		t.Fatalf("up: exit %d\n%s", code, out)
	}
	t.Logf("up took %s", time.Since(began).Round(10*time.Millisecond))
}

// machine is its address.
func machine(t *testing.T, name string) string {
	t.Helper()
	machines, err := open(t).Machines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range machines {
		if m.Name == name {
			return m.Address.String()
		}
	}
	t.Fatalf("no machine %s", name)
	return ""
}

// reachesJust says what differs between some addresses that a pod can connect to and those that it shall, by their names.
// Itself it may reach or not.
func reachesJust(pod string, places map[string]string, want []string) error {
	namespace, podName, _ := strings.Cut(pod, "/")
	args := []string{"-f", file, "kubectl", "--", "exec", podName, "--namespace=" + namespace, "--", "/ashlar", "probe", "connect"}
	names := map[string]string{}
	for name, address := range places {
		names[address] = name
		args = append(args, address)
	}
	out, code := try(args...)
	var reached []claim.Reached
	if err := json.Unmarshal([]byte(out), &reached); code != 0 || err != nil {
		return fmt.Errorf("connect from %s: exit %d: %q", pod, code, out)
	}
	var wrong []string
	for _, r := range reached {
		if to := names[r.Address]; r.Connected != slices.Contains(want, to) && !strings.HasPrefix(to, pod+":") {
			wrong = append(wrong, fmt.Sprintf("%s → %s: connected %t %s", pod, to, r.Connected, r.Refusal))
		}
	}
	if wrong != nil {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// serve greets whoever connects to a vantage, until the test ends.
func serve(t *testing.T, p provider.Provider, vantage, address string) {
	t.Helper()
	l, err := p.Listen(t.Context(), vantage, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello\n")
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-done
	})
}
