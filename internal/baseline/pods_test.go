package baseline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/testserver"
)

// ownClasses are classes of a cluster that differ in what matters to silent pods.
func ownClasses() v1alpha1.Isolation {
	return v1alpha1.Isolation{Classes: []v1alpha1.PodClass{
		{Name: "system", Standard: "baseline", HostUsers: true},
		{Name: "rooted", Relax: []string{"Running as Non-root"}},
		{Name: "named", Relax: []string{"Running as Non-root", "Running as Non-root user"}},
		{Name: "sudo", Relax: []string{"Privilege Escalation"}},
		{Name: "sealed", ReadOnlyRoot: true},
	}, Grants: []v1alpha1.ClassGrant{
		{Class: "sealed", NamespaceLabels: map[string]string{"charts": "old", "team": "shop"}, Default: true, ServiceAccounts: []string{"*"}},
		{Class: "baseline", Namespaces: []string{"builds"}, Default: true, ServiceAccounts: []string{"*"}},
		{Class: "system", Namespaces: []string{"builds"}, ServiceAccounts: []string{"*"}},
	}}
}

// restrictedPod is one that says all that the strictest standard wants, and nothing else.
const restrictedPod = `
metadata: {labels: {ashlar.dev/class: %s}}
spec:
  serviceAccountName: default
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - {name: i, image: none, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
  containers:
  - {name: a, image: none, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
  - {name: b, image: none, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}`

// silentPod says nothing at all.
const silentPod = `
metadata: {labels: {ashlar.dev/class: %s}}
spec:
  initContainers: [{name: i, image: none}]
  containers: [{name: a, image: none}, {name: b, image: none}]`

// TestSilentPods: what pods get that say nothing, and what keeps those that say something as they are, on a real API server.
func TestSilentPods(t *testing.T) {
	config := testserver.StartAPI(t, nil, "--allow-privileged=true").Admin
	config.QPS = -1
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	in := input()
	in.Isolation, in.UserNamespaces = ownClasses(), true
	// What a class refuses is for other tests: here all pods pass, to be seen as they are changed.
	silent := slices.DeleteFunc(objects(t, in), func(o *unstructured.Unstructured) bool { return o.GetName() == isolation.PolicyName })
	if _, err := Apply(ctx, config, silent); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	const space = "anything"
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := func(name string, mounts *bool) *bool {
		made, err := client.CoreV1().ServiceAccounts(space).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}, AutomountServiceAccountToken: mounts}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return made.AutomountServiceAccountToken
	}
	// A policy takes a moment to be in force.
	for i := 0; ; i++ {
		if got := account(fmt.Sprintf("silent-%d", i), nil); got != nil && !*got {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("a ServiceAccount that says nothing still gives its token to all")
		}
	}
	account("default", nil)
	if got := account("asks", new(true)); got == nil || !*got {
		t.Error("a ServiceAccount that asks for its token does not get it")
	}
	t.Run("users", func(t *testing.T) { usersOfSilentPods(t, ctx, client.CoreV1().Pods(space)) })
	t.Run("class", func(t *testing.T) { classOfSilentPods(t, ctx, client) })
}

// classOfSilentPods: pods that name no class are of the one that a grant has for their namespace, and keep to it.
func classOfSilentPods(t *testing.T, ctx context.Context, client kubernetes.Interface) {
	for _, c := range []struct {
		namespace string
		labels    map[string]string
		says      string // of its class
		class     string
		root      string // of a container
	}{
		{"shop", map[string]string{"charts": "old", "team": "shop"}, "{}", "sealed", "true"},
		{"half", map[string]string{"charts": "old"}, "{}", "", "none"},
		{"builds", nil, "{}", "baseline", "none"},
		{"others", nil, "{}", "", "none"},
		{"says", map[string]string{"charts": "old", "team": "shop"}, "{ashlar.dev/class: system}", "system", "none"},
	} {
		meta := metav1.ObjectMeta{Name: c.namespace, Labels: c.labels}
		if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().ServiceAccounts(c.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod, err := created(ctx, client.CoreV1().Pods(c.namespace), restrictedPod, "x", "{ashlar.dev/class: x}", c.says)
		if err != nil {
			t.Errorf("%s: %v", c.namespace, err)
			continue
		}
		if class, root := pod.Labels[isolation.LabelClass], said(pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem); class != c.class || root != c.root {
			t.Errorf("in %s a pod that says %s is of class %q, with a read-only root: %s; want %q, %s", c.namespace, c.says, class, root, c.class, c.root)
		}
	}
}

type pods interface {
	Create(context.Context, *corev1.Pod, metav1.CreateOptions) (*corev1.Pod, error)
}

// created is a pod as the API server would store it.
func created(ctx context.Context, to pods, text, class string, changes ...string) (*corev1.Pod, error) {
	text = fmt.Sprintf(text, class)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			return nil, fmt.Errorf("the pod has no %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		return nil, err
	}
	pod.GenerateName = "p-"
	return to.Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

func usersOfSilentPods(t *testing.T, ctx context.Context, to pods) {
	const none, sealed = "none", "sealed"
	for _, c := range []struct {
		name, text, class string
		changes           []string
		users             string // of hostUsers
		escalation, root  string // of each container: i a b
	}{
		{"restricted", restrictedPod, "restricted", nil, "false", "false false false", "none none none"},
		{"no class at all", restrictedPod, "restricted", []string{"{ashlar.dev/class: restricted}", "{}"}, "false", "false false false", "none none none"},
		{"says so itself", restrictedPod, "restricted", []string{"serviceAccountName: default", "hostUsers: true"}, "true", "false false false", "none none none"},
		{"root, forbidden", restrictedPod, "restricted", []string{"runAsNonRoot: true, ", ""}, none, "false false false", "none none none"},
		{"user 0, forbidden", restrictedPod, "restricted", []string{"runAsNonRoot: true", "runAsNonRoot: true, runAsUser: 0"}, none, "false false false", "none none none"},
		{"user 0 of a container", restrictedPod, "restricted", []string{"name: b, image: none, securityContext: {", "name: b, image: none, securityContext: {runAsUser: 0, "}, none, "false false false", "none none none"},
		{"root of an init container", restrictedPod, "restricted", []string{"name: i, image: none, securityContext: {", "name: i, image: none, securityContext: {runAsNonRoot: false, "}, none, "false false false", "none none none"},
		{"silent, restricted", silentPod, "restricted", nil, none, "none none none", "none none none"},
		{"silent, baseline", silentPod, "baseline", nil, "false", "false false false", "none none none"},
		{"silent, privileged", silentPod, "privileged", nil, none, "none none none", "none none none"},
		{"silent, with the machine's users", silentPod, "system", nil, none, "false false false", "none none none"},
		{"silent, may be root", silentPod, "rooted", nil, "false", "none none none", "none none none"},
		{"user 0, not relaxed", silentPod, "rooted", []string{"initContainers:", "securityContext: {runAsUser: 0}\n  initContainers:"}, none, "none none none", "none none none"},
		{"user 0, relaxed", silentPod, "named", []string{"initContainers:", "securityContext: {runAsUser: 0}\n  initContainers:"}, "false", "none none none", "none none none"},
		{"silent, may escalate", silentPod, "sudo", nil, none, "false false false", "none none none"},
		{"escalates", silentPod, "baseline", []string{"{name: b, image: none}", "{name: b, image: none, securityContext: {allowPrivilegeEscalation: true}}"}, "false", "false false true", "none none none"},
		{"is privileged", silentPod, "baseline", []string{"{name: b, image: none}", "{name: b, image: none, securityContext: {privileged: true}}"}, none, "false false none", "none none none"},
		{"has CAP_SYS_ADMIN", silentPod, "baseline", []string{"{name: b, image: none}", "{name: b, image: none, securityContext: {capabilities: {add: [SYS_ADMIN]}}}"}, "false", "false false none", "none none none"},
		{"a root that cannot be written", silentPod, sealed, nil, none, "none none none", "true true true"},
		{"one that says so", restrictedPod, sealed, []string{"{name: a, image: none, securityContext: {", "{name: a, image: none, securityContext: {readOnlyRootFilesystem: true, "}, "false", "false false false", "true true true"},
		{"one that writes, for the policy to refuse", restrictedPod, sealed, []string{"{name: a, image: none, securityContext: {", "{name: a, image: none, securityContext: {readOnlyRootFilesystem: false, "}, "false", "false false false", "true false true"},
		{"the machine's network", silentPod, "baseline", []string{"initContainers:", "hostNetwork: true\n  initContainers:"}, none, "false false false", "none none none"},
		{"the machine's processes", silentPod, "baseline", []string{"initContainers:", "hostPID: true\n  initContainers:"}, none, "false false false", "none none none"},
		{"the machine's memory", silentPod, "baseline", []string{"initContainers:", "hostIPC: true\n  initContainers:"}, none, "false false false", "none none none"},
	} {
		pod, err := created(ctx, to, c.text, c.class, c.changes...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var escalation, root []string
		for _, x := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			if x.SecurityContext == nil {
				x.SecurityContext = &corev1.SecurityContext{}
			}
			escalation = append(escalation, said(x.SecurityContext.AllowPrivilegeEscalation))
			root = append(root, said(x.SecurityContext.ReadOnlyRootFilesystem))
		}
		got := [3]string{said(pod.Spec.HostUsers), strings.Join(escalation, " "), strings.Join(root, " ")}
		if want := [3]string{c.users, c.escalation, c.root}; got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

func said(b *bool) string {
	if b == nil {
		return "none"
	}
	return fmt.Sprint(*b)
}
