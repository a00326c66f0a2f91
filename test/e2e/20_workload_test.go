package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// workload is what a user of the cluster would run: a server on every worker behind a Service, and a client.
const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      securityContext: %[3]s
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: %[2]s
        args: [netexec, --http-port=8080]
        readinessProbe: {httpGet: {port: 8080, path: /healthz}, periodSeconds: 1}
        securityContext: %[4]s
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %[1]s}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: %[1]s, labels: {app: client}}
spec:
  securityContext: %[3]s
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: %[2]s, args: [netexec, --http-port=8080], securityContext: %[4]s}]
`

// letIn are NetworkPolicies under which the client reaches the servers: without any, nobody reaches anybody.
const letIn = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]
`

// TestWorkload runs an application as its user would: a Deployment with a Service over both workers, looked up by DNS,
// with exec and logs, let in by NetworkPolicies, cut off and let in again.
func TestWorkload(t *testing.T) {
	const ns = "workload"
	image := importImage(t, "agnhost")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`, ns))
	// A pod is refused until Kubernetes has made its ServiceAccount; a Deployment would try again, a bare pod does not.
	kubectl(t, "wait", "serviceaccount/default", "--namespace="+ns, "--for=create", "--timeout=30s")
	apply(t, fmt.Sprintf(workload, ns, image, "{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}",
		"{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}"))
	kubectl(t, "rollout", "status", "deployment/web", "--namespace="+ns, "--timeout=60s")
	kubectl(t, "wait", "pod/client", "--namespace="+ns, "--for=condition=Ready", "--timeout=60s")

	nodes := map[string]bool{}
	for node := range strings.FieldsSeq(kubectl(t, "get", "pods", "--namespace="+ns, "--selector=app=web", "-o", "jsonpath={.items[*].spec.nodeName}")) {
		nodes[node] = true
	}
	if len(nodes) != 2 {
		t.Errorf("the servers run on %v, want both workers", nodes)
	}

	ask := func() (string, int) {
		return try("-f", file, "kubectl", "--", "exec", "client", "--namespace="+ns, "--",
			"/agnhost", "connect", "web."+ns+".svc.cluster.local:80", "--timeout=1s")
	}
	t.Run("nobody reaches it", func(t *testing.T) {
		if out, code := ask(); code == 0 || !strings.Contains(out, "TIMEOUT") {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	apply(t, fmt.Sprintf(letIn, ns))
	t.Run("DNS and the Service", func(t *testing.T) {
		eventually(t, 10*time.Second, func() error {
			if out, code := ask(); code != 0 {
				return errors.New(out)
			}
			return nil
		})
	})
	t.Run("the Service balances", func(t *testing.T) {
		// The client asks sixty times, each over a connection of its own. It is told to from its machine: the API has no way
		// into the pod network.
		where := strings.Fields(kubectl(t, "get", "pod/client", "--namespace="+ns, "-o", "jsonpath={.spec.nodeName} {.status.podIP}"))
		out := ashlar(t, "exec", where[0], "--", "bash", "-c", fmt.Sprintf(
			`exec 3<>/dev/tcp/%s/8080; printf 'GET /dial?host=web.%s&port=80&protocol=http&request=hostname&tries=60 HTTP/1.0\r\n\r\n' >&3; cat <&3`, where[1], ns))
		var answer struct{ Responses, Errors []string }
		_, body, _ := strings.Cut(out, "\r\n\r\n")
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		answered := map[string]int{}
		for _, r := range answer.Responses {
			answered[r]++
		}
		if len(answered) != 4 || len(answer.Errors) > 0 {
			t.Errorf("these answered: %v; errors: %v", answered, answer.Errors)
		}
	})
	t.Run("logs", func(t *testing.T) {
		if out := kubectl(t, "logs", "deployment/web", "--namespace="+ns); !strings.Contains(out, "Started HTTP server on port 8080") {
			t.Errorf("logs:\n%s", out)
		}
	})
	t.Run("without its NetworkPolicy it is cut off", func(t *testing.T) {
		kubectl(t, "delete", "networkpolicy", "web", "--namespace="+ns)
		eventually(t, 5*time.Second, func() error {
			if _, code := ask(); code == 0 {
				return errors.New("the client still reaches the servers")
			}
			return nil
		})
		apply(t, fmt.Sprintf(letIn, ns))
		eventually(t, 5*time.Second, func() error {
			if out, code := ask(); code != 0 {
				return errors.New(out)
			}
			return nil
		})
	})
}

// apply has the API take a manifest.
func apply(t *testing.T, manifest string) {
	t.Helper()
	if out, code := tryWith(manifest, "-f", file, "kubectl", "--", "apply", "-f", "-"); code != 0 {
		t.Fatalf("kubectl apply: %s", out)
	}
}

// importImage puts an image of the bundle that is no part of the baseline on all workers, and returns its name.
func importImage(t *testing.T, name string) string {
	t.Helper()
	c := open(t)
	for _, image := range c.Bundle.Manifest.Images {
		if image.Name != name {
			continue
		}
		for _, worker := range []string{"worker-0", "worker-1"} {
			ashlar(t, "exec", worker, "--", unit.Bin+"/ctr", "--namespace=k8s.io", "images", "import", "--local", unit.ImagesDir+"/"+name+".tar")
		}
		return image.Reference
	}
	t.Fatalf("the bundle has no image %s", name)
	return ""
}
