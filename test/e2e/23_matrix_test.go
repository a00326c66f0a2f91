package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/network"
)

// shop is two servers and two clients, one of each on each worker, and what their users allow: a port by its name, and one of UDP.
const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: %[2]s}}}
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      containers:
      - name: %[2]s
        image: %[3]s
        args: [netexec, --http-port=8080, --udp-port=8081]
        ports: [{name: http, containerPort: 8080}, {name: echo, containerPort: 8081, protocol: UDP}]
        readinessProbe: {httpGet: {port: 8080, path: /healthz}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: %[2]s-service, namespace: %[1]s}
spec: {selector: {app: %[2]s}, ports: [{name: http, port: 80, targetPort: http}]}
`

const shopPolicies = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: servers, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}, {port: 8081, protocol: UDP}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: clients, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 8080}, {port: 8081, protocol: UDP}]}]
`

// TestNetworkMatrix: what is declared, what the policies in force decide and what real connections find are the same, between workloads
// that know nothing of it; and where they are not, that is noticed.
func TestNetworkMatrix(t *testing.T) {
	const ns = "matrix"
	image := importImage(t, "agnhost")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`, ns))
	for _, name := range []string{"client", "server"} {
		apply(t, fmt.Sprintf(shop, ns, name, image))
	}
	apply(t, fmt.Sprintf(shopPolicies, ns))
	kubectl(t, "rollout", "status", "deployment/server", "deployment/client", "--namespace="+ns, "--timeout=60s")

	t.Run("the three agree", func(t *testing.T) {
		eventually(t, 20*time.Second, func() error { // until the policies are in force everywhere
			m, code := measure(t)
			if code != 0 {
				return fmt.Errorf("exit %d: %v", code, m.Differing())
			}
			return nil
		})
		m, _ := measure(t)
		expectCell(t, m, "matrix/client", "matrix/server", "8080/TCP", network.Yes)
		expectCell(t, m, "matrix/client", "matrix/server", "8081/UDP", network.Yes)
		expectCell(t, m, "matrix/client", "matrix/server", "9/TCP", network.No)
		expectCell(t, m, "matrix/client", "matrix/server", "9/UDP", network.No)
		expectCell(t, m, "matrix/server", "matrix/client", "8080/TCP", network.No)
		expectCell(t, m, "matrix/client", "matrix/client", "8080/TCP", network.No)
		expectCell(t, m, "matrix/client", "kube-system/coredns", "53/UDP", network.Yes)
		expectCell(t, m, "matrix/client", "worker", "10250/TCP", network.No)
		expectCell(t, m, "matrix/client", "lb", "6443/TCP", network.No)
		expectCell(t, m, "matrix/client", "metadata", "80/TCP", network.No)
		expectCell(t, m, "kube-system/coredns", "lb", "6443/TCP", network.Yes)
		expectCell(t, m, "matrix/client", "Service matrix/server-service", "80/TCP", network.Yes)
		expectCell(t, m, "matrix/server", "Service matrix/client-service", "80/TCP", network.No)
		expectCell(t, m, "matrix/client", "Service default/kubernetes", "443/TCP", network.No)
	})
	t.Run("why", func(t *testing.T) {
		expectText(t, ashlar(t, "network", "why", ns+"/client", ns+"/server", "--port", "8080"), "allowed by NetworkPolicy matrix/clients", "allowed by NetworkPolicy matrix/servers",
			"refused by GlobalNetworkPolicy ashlar.default")
		expectText(t, ashlar(t, "network", "why", "worker-0", ns+"/server", "--port", "8080"), "worker-0 →")
		for _, args := range [][]string{{"nowhere/client", ns + "/server"}, {ns + "/client", ns + "/nobody"}, {ns + "/client", "worker-9"}, {ns + "/client", ns + "/server", "--port", "http"}} {
			if out, code := try(append([]string{"-f", file, "network", "why"}, args...)...); code != 64 {
				t.Errorf("why %v: exit %d, want 64\n%s", args, code, out)
			}
		}
	})
	t.Run("what was measured is kept, and drawn", func(t *testing.T) {
		picture := filepath.Join(t.TempDir(), "network.svg")
		out := ashlar(t, "network", "matrix", "--svg", picture)
		expectText(t, out, "matrix/client", "observed", "0 differ")
		if b, err := os.ReadFile(picture); err != nil || !strings.Contains(string(b), "matrix/server") {
			t.Errorf("the picture: %v", err)
		}
	})
	t.Run("what nobody may know of is observed", func(t *testing.T) {
		hiddenPolicy(t, target(t))
		eventually(t, 20*time.Second, func() error {
			m, code := measure(t)
			if code != 2 {
				return fmt.Errorf("exit %d, want 2", code)
			}
			for _, c := range m.Differing() {
				if c.From == "matrix/server" && c.To == "matrix/client" && c.Simulated == network.No && c.Observed == network.Yes {
					return nil
				}
			}
			return fmt.Errorf("the servers do not reach the clients: %v", m.Differing())
		})
	})
}

// measure runs `ashlar network test`.
func measure(t *testing.T) (*network.Matrix, int) {
	t.Helper()
	out, code := try("-f", file, "network", "test", "-o", "json")
	m := &network.Matrix{}
	if err := json.Unmarshal([]byte(out), m); err != nil {
		t.Fatalf("exit %d: %v: %s", code, err, out)
	}
	return m, code
}

// expectCell: declared or not, what is simulated is observed, and is as wanted.
func expectCell(t *testing.T, m *network.Matrix, from, to, port string, want network.Reach) {
	t.Helper()
	for _, c := range m.Cells {
		name := c.To
		if c.Service != "" {
			name = "Service " + c.Service
		}
		if c.From == from && name == to && c.Port.String() == port {
			if c.Simulated != want || c.Observed != want {
				t.Errorf("%s → %s %s: simulated %s, observed %s, want %s: %s", from, to, port, c.Simulated, c.Observed, want, c.Why)
			}
			return
		}
	}
	t.Errorf("%s → %s %s is not in the matrix", from, to, port)
}

func expectText(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("there is no %q in\n%s", p, out)
		}
	}
}
