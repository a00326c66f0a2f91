package claim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	podclass "ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/testserver"
)

// TestProbePrivileged: the probe holds against an API server with the classes' policy, and notices what undoes it.
func TestProbePrivileged(t *testing.T) {
	admin := testserver.StartAPI(t, nil, "--allow-privileged=true").Admin
	admin.QPS = -1
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	client := kubernetes.NewForConfigOrDie(admin)
	declared := v1alpha1.Isolation{
		Classes: []v1alpha1.PodClass{{Name: "router", Standard: "baseline", Capabilities: []string{"NET_ADMIN"}}},
		Grants: []v1alpha1.ClassGrant{
			{Class: "router", Namespaces: []string{"edge"}, Users: []string{"ada"}, Groups: []string{"net"}, ServiceAccounts: []string{"router"}},
			{Class: "privileged", Namespaces: []string{"edge"}, ServiceAccounts: []string{"default"}}},
	}
	target := &Target{Admin: admin, Spec: &v1alpha1.Cluster{}}
	target.Spec.Spec.Isolation = declared
	hardened(t, ctx, client, declared)
	policies := dynamic.NewForConfigOrDie(admin)
	apply := func() {
		for _, o := range podclass.Policies(podclass.Classes(declared)) {
			if _, err := policies.Resource(admissionResource(o.GetKind())).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "test"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	verdict := func() (Verdict, string, int) {
		evidence, err := probePrivileged(ctx, target)
		v, reason := Decide(evidence, err)
		return v, reason, len(evidence)
	}
	comesTo := func(want Verdict, says string) {
		t.Helper()
		var v Verdict
		var reason string
		testserver.Eventually(t, fmt.Sprintf("%s claim", want), func() bool {
			v, reason, _ = verdict()
			return v == want
		})
		t.Logf("%s: %s", v, reason)
		if !strings.Contains(reason, says) {
			t.Errorf("the reason does not say %q", says)
		}
	}
	apply()
	comesTo(Holds, "")
	began := time.Now()
	_, _, attempts := verdict()
	t.Logf("%d attempts in %s", attempts, time.Since(began).Round(time.Millisecond))

	label := func(level any) {
		body := fmt.Sprintf(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%v}}}`, level)
		if _, err := client.CoreV1().Namespaces().Patch(ctx, "default", types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	label("null")
	comesTo(Broken, "in default")
	label(`"restricted"`)
	comesTo(Holds, "")

	if err := policies.Resource(admissionResource("ValidatingAdmissionPolicyBinding")).Delete(ctx, podclass.PolicyName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	comesTo(Broken, "allowed")
	apply()
	comesTo(Holds, "")

	byHand := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "sabotage"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: podclass.RoleName("router")},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts"}}}
	if _, err := client.RbacV1().RoleBindings("default").Create(ctx, byHand, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	comesTo(Broken, "use class router in default")
	if err := client.RbacV1().RoleBindings("default").Delete(ctx, byHand.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	comesTo(Holds, "")

	everybody := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "sabotage"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: podclass.RoleName("privileged")},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"}}}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, everybody, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	comesTo(Broken, "of class privileged")
	if err := client.RbacV1().ClusterRoleBindings().Delete(ctx, everybody.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	comesTo(Holds, "")
}

// hardened is what the baseline and its controller make of a cluster, as far as pods' classes go.
func hardened(t *testing.T, ctx context.Context, client kubernetes.Interface, declared v1alpha1.Isolation) {
	t.Helper()
	for _, role := range podclass.Roles(podclass.Classes(declared)) {
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, &role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease", "edge"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, _ = client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}) // the server makes most by itself
		testserver.Eventually(t, "labelled namespace "+name, func() bool {
			ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false
			}
			ns.Labels = podclass.LevelLabels(podclass.Level(declared, name, nil))
			_, err = client.CoreV1().Namespaces().Update(ctx, ns, metav1.UpdateOptions{})
			return err == nil
		})
		for _, account := range []string{"default", "router"} {
			_, err := client.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range podclass.Bindings(declared, name, nil) {
			if _, err := client.RbacV1().RoleBindings(name).Create(ctx, &b, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func admissionResource(kind string) schema.GroupVersionResource {
	name := map[string]string{"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings"}[kind]
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: name}
}
