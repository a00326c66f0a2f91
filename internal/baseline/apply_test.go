package baseline

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/testserver"
)

func TestAgainstAnAPIServer(t *testing.T) {
	config := testserver.StartAPI(t, nil).Admin
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	wanted := objects(t, input())

	leaveAddressTaken(t, ctx, config)
	start := time.Now()
	applied, err := Apply(ctx, config, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if len(applied) != len(wanted) {
		t.Errorf("%d of %d objects were applied", len(applied), len(wanted))
	}
	t.Logf("apply: %s", time.Since(start))
	start = time.Now()
	if again := observed(t, ctx, config, wanted); len(again) != 0 {
		t.Fatalf("after applying, these differ:\n%s", strings.Join(again, "\n"))
	}
	t.Logf("observe: %s", time.Since(start))

	client, err := connect(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("drift", func(t *testing.T) { driftIsNamedAndRepaired(t, ctx, config, client, wanted) })
	t.Run("prune", func(t *testing.T) { fewerWorkersNeedLess(t, ctx, config) })
	t.Run("tokens", func(t *testing.T) { longLivedTokensAreRefused(t, ctx, client) })
	t.Run("pods", func(t *testing.T) { podsAreLimitedAndRestricted(t, ctx, client) })
	t.Run("ready", func(t *testing.T) { readyWaitsForCoreDNS(t, ctx, config, client) })
	t.Run("controllers", func(t *testing.T) { controllersMakeNoDrift(t, ctx, config, client) })
}

// TestPassing: what client-go says of an API server that goes away amid its answer passes by itself; a no does not.
func TestPassing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"kind":`)
	}))
	t.Cleanup(server.Close)
	client, err := connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	maps := client.Resource(core.WithResource("configmaps")).Namespace("default")
	if err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{}); err == nil || !passing(err) {
		t.Errorf("an answer that was cut off: %v", err)
	}
	if _, err := maps.Get(t.Context(), "a", metav1.GetOptions{}); err == nil || passing(err) {
		t.Errorf("a no: %v", err)
	}
}

// leaveAddressTaken is what an API server leaves behind that took the address of a Service and then could not make it.
func leaveAddressTaken(t *testing.T, ctx context.Context, config *rest.Config) {
	t.Helper()
	client, err := connect(config)
	if err != nil {
		t.Fatal(err)
	}
	taken := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
		"metadata": map[string]any{"name": input().DNSServiceIP.String(), "labels": map[string]any{
			"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
		"spec": map[string]any{"parentRef": map[string]any{"group": "", "resource": "services", "namespace": "kube-system", "name": "kube-dns"}},
	}}
	if err := retry(ctx, func() error {
		_, err := client.Resource(netw.WithResource("ipaddresses")).Create(ctx, taken, metav1.CreateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func observed(t *testing.T, ctx context.Context, config *rest.Config, wanted []*unstructured.Unstructured) []string {
	t.Helper()
	drift, err := Observe(ctx, config, wanted)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range drift {
		out = append(out, d.String())
	}
	return out
}

func driftIsNamedAndRepaired(t *testing.T, ctx context.Context, config *rest.Config, client dynamic.Interface, wanted []*unstructured.Unstructured) {
	edit := func(r schema.GroupVersionResource, namespace, name, patch string) func() error {
		return func() error {
			_, err := client.Resource(r).Namespace(namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
			return err
		}
	}
	for name, test := range map[string]struct {
		sabotage func() error
		names    string
	}{
		"binding deleted": {func() error {
			return client.Resource(rbac.WithResource("clusterrolebindings")).Delete(ctx, "ashlar:admins", metav1.DeleteOptions{})
		}, "ClusterRoleBinding ashlar:admins: does not exist"},
		"policy opened": {edit(netw.WithResource("networkpolicies"), "kube-system", "default-deny", `{"spec":{"ingress":[{}]}}`),
			"NetworkPolicy kube-system/default-deny: differs in spec.ingress"},
		"policy narrowed": {edit(netw.WithResource("networkpolicies"), "kube-system", "default-deny", `{"spec":{"podSelector":{"matchLabels":{"a":"b"}}}}`),
			"NetworkPolicy kube-system/default-deny"},
		"role widened": {edit(rbac.WithResource("clusterroles"), "", "ashlar:calico-cni", `{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`),
			"ClusterRole ashlar:calico-cni: differs in rules"},
		"namespace unlabelled": {edit(core.WithResource("namespaces"), "", "default", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null}}}`),
			"Namespace default: differs in metadata.labels"},
		"namespace relabelled": {edit(core.WithResource("namespaces"), "", "kube-system", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`),
			"Namespace kube-system: differs in metadata.labels"},
		"admission exempted": {edit(admit.WithResource("validatingadmissionpolicies"), "", "ashlar-no-long-lived-tokens", `{"spec":{"matchConditions":[{"name":"never","expression":"false"}]}}`),
			"ValidatingAdmissionPolicy ashlar-no-long-lived-tokens: has been added to: spec.matchConditions"},
		"admission narrowed": {edit(admit.WithResource("validatingadmissionpolicybindings"), "", "ashlar-no-long-lived-tokens", `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"a":"b"}}}}}`),
			"ValidatingAdmissionPolicyBinding ashlar-no-long-lived-tokens: has been added to: spec.matchResources"},
		"our labels removed": {edit(netw.WithResource("networkpolicies"), "kube-system", "coredns", `{"metadata":{"labels":null}}`),
			"NetworkPolicy kube-system/coredns: differs in metadata.labels"},
		"limits taken from pods": {edit(admit.WithResource("mutatingadmissionpolicies"), "", "ashlar-resources", `{"spec":{"matchConstraints":{"namespaceSelector":{"matchLabels":{"a":"b"}}}}}`),
			"MutatingAdmissionPolicy ashlar-resources"},
		"token mounted": {edit(core.WithResource("serviceaccounts"), "default", "default", `{"automountServiceAccountToken":true}`),
			"ServiceAccount default/default: differs in automountServiceAccountToken"},
		"DNS configured": {edit(core.WithResource("configmaps"), "kube-system", "coredns", `{"data":{"Corefile":".:53 {}"}}`),
			"ConfigMap kube-system/coredns: differs in data.Corefile"},
		"second container": {func() error {
			patch := `{"spec":{"template":{"spec":{"containers":[{"name":"extra","image":"extra"}]}}}}`
			_, err := client.Resource(apps.WithResource("deployments")).Namespace("kube-system").Patch(ctx, "coredns", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
			return err
		}, "Deployment kube-system/coredns: has been added to: spec.template.spec.containers"},
		"Service moved": {edit(core.WithResource("services"), "kube-system", "kube-dns", `{"spec":{"externalIPs":["192.0.2.1"]}}`),
			"Service kube-system/kube-dns: has been added to: spec.externalIPs"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.sabotage(); err != nil {
				t.Fatal(err)
			}
			if named := observed(t, ctx, config, wanted); len(named) != 1 || !strings.Contains(named[0], test.names) {
				t.Errorf("wanted only %q, got\n%s", test.names, strings.Join(named, "\n"))
			}
			if _, err := Apply(ctx, config, wanted); err != nil {
				t.Fatal(err)
			}
			if left := observed(t, ctx, config, wanted); len(left) != 0 {
				t.Errorf("not repaired:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

func fewerWorkersNeedLess(t *testing.T, ctx context.Context, config *rest.Config) {
	one := input()
	one.Workers = 1
	named := observed(t, ctx, config, objects(t, one))
	if len(named) != 2 || !strings.Contains(strings.Join(named, "\n"), "PodDisruptionBudget kube-system/coredns: is no longer part of the baseline") {
		t.Errorf("got\n%s", strings.Join(named, "\n"))
	}
	if _, err := Apply(ctx, config, objects(t, one)); err != nil {
		t.Fatal(err)
	}
	if left := observed(t, ctx, config, objects(t, one)); len(left) != 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

func object(kind, name string, fields map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": "default"}}}
	for key, value := range fields {
		o.Object[key] = value
	}
	return o
}

func longLivedTokensAreRefused(t *testing.T, ctx context.Context, client dynamic.Interface) {
	secrets := client.Resource(core.WithResource("secrets")).Namespace("default")
	token := object("Secret", "token", map[string]any{"type": "kubernetes.io/service-account-token"})
	token.SetAnnotations(map[string]string{"kubernetes.io/service-account.name": "default"})
	// A new policy takes effect a moment after it is written.
	for {
		_, err := secrets.Create(ctx, token, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "never expire") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("a long-lived token is not refused: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := secrets.Create(ctx, object("Secret", "plain", nil), metav1.CreateOptions{}); err != nil {
		t.Errorf("an ordinary Secret: %v", err)
	}
}

func podsAreLimitedAndRestricted(t *testing.T, ctx context.Context, client dynamic.Interface) {
	pods := client.Resource(core.WithResource("pods")).Namespace("default")
	container := map[string]any{"name": "c", "image": "i"}
	pod := object("Pod", "p", map[string]any{"spec": map[string]any{"containers": []any{container}}})
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "class restricted does not allow Capabilities") {
		t.Errorf("an unrestricted pod: %v", err)
	}
	container["securityContext"] = map[string]any{"allowPrivilegeEscalation": false, "runAsNonRoot": true,
		"capabilities": map[string]any{"drop": []any{"ALL"}}, "seccompProfile": map[string]any{"type": "RuntimeDefault"}}
	pod.SetLabels(map[string]string{"ashlar.dev/class": "privileged"})
	container["securityContext"].(map[string]any)["runAsNonRoot"] = false
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("a pod of a class that is not granted here, by somebody who may use any: %v", err)
	}
	pod.SetLabels(nil)
	container["securityContext"].(map[string]any)["runAsNonRoot"] = true
	got, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a restricted pod: %v", err)
	}
	if class, _, _ := unstructured.NestedString(got.Object, "status", "qosClass"); class != "Burstable" {
		t.Errorf("a pod without limits is %s", class)
	}
	if priority, _, _ := unstructured.NestedInt64(got.Object, "spec", "priority"); priority != 1000 {
		t.Errorf("a pod that names no priority has %d", priority)
	}
	containersAreLimited(t, ctx, pods, container)
	// CoreDNS's own pods fit in their namespace.
	for _, o := range objects(t, input()) {
		if o.GetKind() != "Deployment" {
			continue
		}
		template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
		dns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]}}
		dns.SetName("coredns-test")
		if _, err := client.Resource(core.WithResource("pods")).Namespace("kube-system").Create(ctx, dns, metav1.CreateOptions{}); err != nil {
			t.Errorf("CoreDNS: %v", err)
		}
	}
}

// What Kubernetes' own controllers write (revisions, status, the CA's ConfigMap) is no drift.
func controllersMakeNoDrift(t *testing.T, ctx context.Context, config *rest.Config, client dynamic.Interface) {
	testserver.Run(t, nil, "kube-controller-manager", "--kubeconfig="+testserver.Kubeconfig(t, config), "--authentication-skip-lookup",
		"--leader-elect=false", "--cert-dir="+t.TempDir(), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", testserver.Port(t)))
	for {
		d, err := client.Resource(apps.WithResource("deployments")).Namespace("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, state := deploymentAvailable(d); strings.Contains(state, "minimum availability") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	one := input()
	one.Workers = 1
	if named := observed(t, ctx, config, objects(t, one)); len(named) != 0 {
		t.Errorf("drift:\n%s", strings.Join(named, "\n"))
	}
	pods, err := client.Resource(core.WithResource("pods")).Namespace("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	if err != nil || len(pods.Items) == 0 {
		t.Errorf("the Deployment has made no pod: %v", err)
	}
}

func readyWaitsForCoreDNS(t *testing.T, ctx context.Context, config *rest.Config, client dynamic.Interface) {
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := Ready(short, config); err == nil || !strings.Contains(err.Error(), "wait for CoreDNS") {
		t.Errorf("ready without a pod: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- Ready(ctx, config) }()
	status := `{"status":{"observedGeneration":1000,"conditions":[{"type":"Available","status":"True"}]}}`
	if _, err := client.Resource(apps.WithResource("deployments")).Namespace("kube-system").
		Patch(ctx, "coredns", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
