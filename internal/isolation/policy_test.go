package isolation

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/testserver"
)

// own are classes that use every field there is.
func own() v1alpha1.Isolation {
	return v1alpha1.Isolation{Classes: []v1alpha1.PodClass{
		{Name: "log-shipper", HostPaths: []v1alpha1.HostPath{{Prefix: "/var/log", ReadOnly: true}, {Prefix: "/var/lib/shipper"}},
			RunAsUser: []v1alpha1.IDRange{{From: 0, To: 0}, {From: 1000, To: 1999}}, ReadOnlyRoot: true},
		{Name: "router", Standard: "baseline", Capabilities: []string{"NET_ADMIN", "NET_RAW"}, HostNamespaces: []string{"network"},
			Seccomp: []string{"Unconfined"}, SELinux: []v1alpha1.SELinuxOptions{{Type: "spc_t"}, {User: "system_u", Level: "s0:c1,c2"}}},
		{Name: "gateway", HostPorts: []v1alpha1.PortRange{{From: 80, To: 80}, {From: 8000, To: 8999}}, Capabilities: []string{"CHOWN"},
			Relax: []string{NonRoot, Sysctls, VolumeTypes}},
		{Name: "tracer", HostNamespaces: []string{"pid", "ipc"}, Seccomp: []string{"Unconfined"}, RunAsUser: []v1alpha1.IDRange{{From: 5, To: 9}}},
	}}
}

// served is an API server that has the policies of some classes.
type served struct {
	api   testserver.API
	admin kubernetes.Interface
	as    map[string]kubernetes.Interface
}

func serve(t *testing.T, classes []Class, groups ...string) served {
	t.Helper()
	s := served{api: testserver.StartAPI(t, groups, "--allow-privileged=true"), as: map[string]kubernetes.Interface{}}
	s.admin = client(t, s.api.Admin)
	for _, g := range groups {
		s.as[g] = client(t, s.api.As(g))
	}
	dynamics, err := dynamic.NewForConfig(s.api.Admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range Policies(classes) {
		resource := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: strings.ToLower(o.GetKind()) + "s"}
		resource.Resource = strings.Replace(resource.Resource, "policys", "policies", 1)
		if _, err := dynamics.Resource(resource).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.namespace(t, "shop")
	no := metav1.ObjectMeta{Name: "x", Labels: map[string]string{LabelClass: "none"}}
	testserver.Eventually(t, "policy that is enforced", func() bool {
		return apierrors.IsForbidden(s.dryRun(t.Context(), s.admin, &corev1.Pod{ObjectMeta: no, Spec: plain()}))
	})
	policy, err := s.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), PolicyName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, v := range policy.Spec.Variables {
		size += len(v.Expression)
	}
	t.Logf("%d classes: %d variables of %d bytes", len(classes), len(policy.Spec.Variables), size)
	return s
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// namespace makes one, and its ServiceAccounts: there is no controller-manager to make even the first.
func (s served) namespace(t *testing.T, name string, accounts ...string) {
	t.Helper()
	if _, err := s.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, a := range append([]string{"default"}, accounts...) {
		if _, err := s.admin.CoreV1().ServiceAccounts(name).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: a}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func (s served) dryRun(ctx context.Context, as kubernetes.Interface, pod *corev1.Pod) error {
	_, err := as.CoreV1().Pods("shop").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// plain is a pod that restricted allows.
func plain() corev1.PodSpec {
	yes, no := true, false
	return corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "a", Image: "a", SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
	}
}

// What the API server answers to a pod is what Check says of it, word by word, in each class.
func TestPolicyAgreesWithCheck(t *testing.T) {
	classes := Classes(own())
	s := serve(t, classes)
	cells, refused := 0, 0
	for name, change := range changes() {
		spec, meta := plain(), metav1.ObjectMeta{Name: "x"}
		change(&meta, &spec)
		var allowing []string
		for _, c := range byWidth(classes) {
			if len(c.Check(&meta, &spec)) == 0 {
				allowing = append(allowing, c.Name)
			}
		}
		for _, c := range classes {
			pod := &corev1.Pod{ObjectMeta: *meta.DeepCopy(), Spec: *spec.DeepCopy()}
			pod.Labels = map[string]string{LabelClass: c.Name}
			var texts []string
			for _, v := range c.Check(&meta, &spec) {
				texts = append(texts, v.String())
			}
			want := ""
			if len(texts) > 0 {
				refused++
				more := ""
				if len(texts) > most {
					more = fmt.Sprintf("; and %d more", len(texts)-most)
				}
				would := "No class does. "
				if len(allowing) > 0 {
					would = "It would be allowed by class " + strings.Join(allowing, " or ") + " (label ashlar.dev/class). "
				}
				want = fmt.Sprintf(`pods "x" is forbidden: ValidatingAdmissionPolicy 'ashlar-pod-class' with binding 'ashlar-pod-class' denied request: class %s does not allow %s. %s%s`,
					c.Name, strings.Join(texts[:min(len(texts), most)], "; ")+more, would, grantedBy)
			}
			got := ""
			if err := s.dryRun(t.Context(), s.admin, pod); err != nil {
				got = err.Error()
			}
			cells++
			if got != want {
				t.Errorf("%s, class %s:\n got %s\nwant %s", name, c.Name, got, want)
			}
		}
	}
	t.Logf("%d pods in classes, %d refused", cells, refused)
}

// Who may use a class: whoever made the pod, or its ServiceAccount, by a binding in its namespace.
func TestWhoMayUseAClass(t *testing.T) {
	classes := Classes(v1alpha1.Isolation{})
	s := serve(t, classes, "granted", "others", "system:serviceaccounts:kube-system")
	s.namespace(t, "other")
	ctx := t.Context()
	for _, name := range []string{"builder", "web"} {
		if _, err := s.admin.CoreV1().ServiceAccounts("shop").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	roles := Roles(classes)
	roles = append(roles, rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}}},
		rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "everything"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}})
	for _, r := range roles {
		if _, err := s.admin.RbacV1().ClusterRoles().Create(ctx, &r, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for role, group := range map[string]string{"pods": "system:authenticated", "everything": "system:serviceaccounts:kube-system"} {
		b := rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}}}
		if _, err := s.admin.RbacV1().ClusterRoleBindings().Create(ctx, &b, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range Bindings(v1alpha1.Isolation{Grants: []v1alpha1.ClassGrant{{Class: Baseline, Namespaces: []string{"shop"}, Groups: []string{"granted"}, ServiceAccounts: []string{"builder"}}}}, "shop", nil) {
		if _, err := s.admin.RbacV1().RoleBindings("shop").Create(ctx, &b, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(group, namespace, account, class string) string {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: plain()}
		pod.Spec.ServiceAccountName = account
		if class != Restricted {
			pod.Labels = map[string]string{LabelClass: class}
		}
		_, err := s.as[group].CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err.Error()
		}
		return ""
	}
	testserver.Eventually(t, "grant", func() bool { return try("granted", "shop", "default", Baseline) == "" })
	const refused = `pods "x" is forbidden: ValidatingAdmissionPolicy 'ashlar-pod-class' with binding 'ashlar-pod-class' denied request: class %s is not granted here: ` +
		`neither %s nor ServiceAccount %s/%s may use it in namespace %[3]s. ` + grantedBy
	for _, c := range []struct {
		group, namespace, account, class string
		may                              bool
	}{
		{"others", "shop", "default", Restricted, true},
		{"others", "shop", "default", Baseline, false},
		{"others", "shop", "builder", Baseline, true}, // its ServiceAccount's
		{"others", "shop", "web", Baseline, false},
		{"others", "shop", "builder", Privileged, false},
		{"granted", "shop", "web", Baseline, true}, // its maker's
		{"granted", "shop", "web", Privileged, false},
		{"granted", "other", "default", Baseline, false}, // elsewhere
		// As a controller of Kubernetes in ABAC mode: it may do everything, and so the pod's ServiceAccount alone counts.
		{"system:serviceaccounts:kube-system", "shop", "web", Baseline, false},
		{"system:serviceaccounts:kube-system", "shop", "builder", Baseline, true},
	} {
		want := ""
		if !c.may {
			want = fmt.Sprintf(refused, c.class, "test "+c.group, c.namespace, c.account)
		}
		if got := try(c.group, c.namespace, c.account, c.class); got != want {
			t.Errorf("%+v:\n got %s\nwant %s", c, got, want)
		}
	}
}

// A pod's class stays as it is, by whichever way to its labels; other updates pass, even of a pod that its class no longer allows.
func TestUpdates(t *testing.T) {
	s := serve(t, Classes(v1alpha1.Isolation{}))
	ctx, pods := t.Context(), s.admin.CoreV1().Pods("shop")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{LabelClass: Privileged}, Finalizers: []string{"example.org/keep"}}, Spec: plain()}
	yes := true
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range [][]string{nil, {"status"}} {
		_, err := pods.Patch(ctx, "x", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"ashlar.dev/class":null}}}`), metav1.PatchOptions{}, sub...)
		if err == nil || !strings.Contains(err.Error(), "a pod's class cannot change: it is privileged, not restricted. Make another pod.") {
			t.Errorf("class changed by %v: %v", sub, err)
		}
	}
	debugger := func(spec string) error {
		_, err := pods.Patch(ctx, "x", "application/strategic-merge-patch+json", []byte(`{"spec":{"ephemeralContainers":[`+spec+`]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
		return err
	}
	if err := debugger(`{"name":"d","image":"a","securityContext":{"privileged":true}}`); err != nil {
		t.Errorf("debugger of a privileged pod: %v", err)
	}
	quiet := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "y"}, Spec: plain()}
	if _, err := pods.Create(ctx, quiet, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = pods.Patch(ctx, "y", "application/strategic-merge-patch+json", []byte(`{"spec":{"ephemeralContainers":[{"name":"d","image":"a","securityContext":{"privileged":true}}]}}`),
		metav1.PatchOptions{}, "ephemeralcontainers")
	if err == nil || !strings.Contains(err.Error(), "class restricted does not allow Privileged Containers: spec.ephemeralContainers[0].securityContext.privileged is true") {
		t.Errorf("debugger of a restricted pod: %v", err)
	}
	// The policy of stricter classes takes the pod's place.
	if _, err := pods.Patch(ctx, "x", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null,"annotations":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("finalizer: %v", err)
	}
	if _, err := pods.Patch(ctx, "x", "application/merge-patch+json", []byte(`{"status":{"reason":"x"}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Errorf("status: %v", err)
	}
}

// Nothing of a policy is more than the API server lets pass, whatever the classes.
func TestManyClasses(t *testing.T) {
	i := own()
	for n := range v1alpha1.MaxClasses - len(i.Classes) {
		i.Classes = append(i.Classes, v1alpha1.PodClass{Name: fmt.Sprintf("class-%d", n), HostPorts: []v1alpha1.PortRange{{From: n + 1, To: n + 10}}})
	}
	s := serve(t, Classes(i))
	yes := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: plain()}
	for n := range 20 {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", n), Image: "a", SecurityContext: &corev1.SecurityContext{Privileged: &yes}})
	}
	began := time.Now()
	err := s.dryRun(t.Context(), s.admin, pod)
	if err == nil || !strings.Contains(err.Error(), "more. It would be allowed by class privileged (label") {
		t.Errorf("many classes: %v", err)
	}
	t.Logf("refused after %s", time.Since(began))
}
