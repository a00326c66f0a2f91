package claim

import (
	"context"
	"fmt"
	"net"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/unit"
)

// probeAuthzNode acts with the kubelet's own certificate of worker A, from worker A.
func probeAuthzNode(ctx context.Context, t *Target) ([]Evidence, error) {
	a, err := worker(t, 0)
	if err != nil {
		return nil, err
	}
	b, err := worker(t, 1)
	if err != nil {
		return nil, err
	}
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	ns, remove, err := scratch(ctx, admin, "ashlar-verify-node-")
	if err != nil {
		return nil, err
	}
	defer remove()
	pods := map[string]*corev1.Pod{}
	for name, m := range map[string]unit.Machine{"a": a, "b": b} {
		if pods[name], err = podWithAccount(ctx, admin, ns, name, m.Name); err != nil {
			return nil, err
		}
	}
	config, err := nodeConfig(ctx, t, a.Name)
	if err != nil {
		return nil, err
	}
	node, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: "admin", Groups: []string{unit.GroupAdmins}}
	masked, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	// The authorizer learns of a new pod through a watch.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if _, err := node.CoreV1().Secrets(ns).Get(ctx, "a", metav1.GetOptions{}); err == nil {
			break
		}
	}
	var evidence []Evidence
	for _, d := range deeds(node, masked, ns, a.Name, b.Name, pods) {
		err := d.do(ctx)
		if apierrors.IsNotFound(err) || d.want == Refused && (apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)) {
			err = nil // it came past authorization
		}
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("%s: not an answer about permission: %w", d.what, err)
		}
		evidence = append(evidence, attempt(d.what, a.Name, "system:node:"+a.Name, d.want, err))
	}
	return evidence, nil
}

// nodeConfig is the kubelet's way to the API, with the certificate it has now.
func nodeConfig(ctx context.Context, t *Target, machine string) (*rest.Config, error) {
	p := unit.Profile{CA: unit.CAKubernetes, Name: "kubelet"}
	cert, err := t.Provider.Read(ctx, machine, p.CertFile())
	if err != nil {
		return nil, fmt.Errorf("borrow the kubelet's certificate of %s: %w", machine, err)
	}
	key, err := t.Provider.Read(ctx, machine, p.KeyFile())
	if err != nil {
		return nil, fmt.Errorf("borrow the kubelet's key of %s: %w", machine, err)
	}
	config := rest.CopyConfig(t.Admin)
	config.CertData, config.KeyData = cert, key
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return t.Provider.Dial(ctx, machine, network, address)
	}
	return config, nil
}

// deed is one request of a node. Those that change something are dry runs: authorization and admission answer alike.
type deed struct {
	what string
	want Expectation
	do   func(context.Context) error
}

func deeds(node, masked kubernetes.Interface, ns, a, b string, pods map[string]*corev1.Pod) []deed {
	dry := []string{metav1.DryRunAll}
	get := metav1.GetOptions{}
	patch := func(name, body string, sub ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := node.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(body), metav1.PatchOptions{DryRun: dry}, sub...)
			return err
		}
	}
	secret := func(ns, name string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := node.CoreV1().Secrets(ns).Get(ctx, name, get); return err }
	}
	token := func(of, to string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := node.CoreV1().ServiceAccounts(ns).CreateToken(ctx, of, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
				BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: to, UID: pods[to].UID}}}, metav1.CreateOptions{DryRun: dry})
			return err
		}
	}
	create := func(on string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := node.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "planted", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}},
				Spec:       corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "c", Image: "c"}}},
			}, metav1.CreateOptions{DryRun: dry})
			return err
		}
	}
	const status = `{"status":{"nodeInfo":{}}}`
	return []deed{
		{"read its own Node", Allowed, func(ctx context.Context) error { _, err := node.CoreV1().Nodes().Get(ctx, a, get); return err }},
		{"write its own Node's status", Allowed, patch(a, status, "status")},
		{"read its own Lease", Allowed, func(ctx context.Context) error {
			_, err := node.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, a, get)
			return err
		}},
		{"read the Secret of its own pod", Allowed, secret(ns, "a")},
		{"mint a token for its own pod", Allowed, token("a", "a")},

		{"read another's Node", Refused, func(ctx context.Context) error { _, err := node.CoreV1().Nodes().Get(ctx, b, get); return err }},
		{"list all Nodes", Refused, func(ctx context.Context) error {
			_, err := node.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			return err
		}},
		{"write another's Node", Refused, patch(b, `{"metadata":{"labels":{"a":"b"}}}`)},
		{"write another's Node's status", Refused, patch(b, status, "status")},
		{"delete another's Node", Refused, func(ctx context.Context) error {
			return node.CoreV1().Nodes().Delete(ctx, b, metav1.DeleteOptions{DryRun: dry})
		}},
		{"give itself a label that places workloads", Refused, patch(a, `{"metadata":{"labels":{"node-restriction.kubernetes.io/a":"b"}}}`)},
		{"take its own taints away", Refused, patch(a, `{"spec":{"taints":[{"key":"a","effect":"NoExecute"}]}}`)},
		{"read another's Lease", Refused, func(ctx context.Context) error {
			_, err := node.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, b, get)
			return err
		}},
		{"delete another's Lease", Refused, func(ctx context.Context) error {
			return node.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(ctx, b, metav1.DeleteOptions{DryRun: dry})
		}},
		{"read the Secret of another's pod", Refused, secret(ns, "b")},
		{"list all Secrets", Refused, func(ctx context.Context) error {
			_, err := node.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
			return err
		}},
		{"list the pods of all nodes", Refused, func(ctx context.Context) error {
			_, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			return err
		}},
		{"delete another's pod", Refused, func(ctx context.Context) error {
			return node.CoreV1().Pods(ns).Delete(ctx, "b", metav1.DeleteOptions{DryRun: dry})
		}},
		{"create a pod on another node", Refused, create(b)},
		{"mint a token for another's pod", Refused, token("b", "b")},
		{"mint a token of another's ServiceAccount for its own pod", Refused, token("b", "a")},
		{"impersonate an administrator", Refused, func(ctx context.Context) error {
			_, err := masked.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			return err
		}},
		{"see who is bound to which role", Refused, func(ctx context.Context) error {
			_, err := node.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
			return err
		}},
	}
}
