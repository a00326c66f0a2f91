package podsecurity

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
	"ashlar.dev/ashlar/internal/testserver"
)

// The namespaces: one in which every class is granted to somebody, one in which none is, and one in which others are granted.
const (
	granted   = "granted"
	plain     = "plain"
	elsewhere = "elsewhere"
)

// server is an API server with the policies of internal/isolation.
type server struct {
	config  *rest.Config
	admin   kubernetes.Interface
	classes []isolation.Class
}

func start(t *testing.T, own []v1alpha1.PodClass) server {
	t.Helper()
	config := testserver.StartAPI(t, nil, "--allow-privileged=true").Admin
	config.QPS = -1
	s := server{config, kubernetes.NewForConfigOrDie(config), isolation.Classes(v1alpha1.Isolation{Classes: own})}
	ctx := t.Context()
	s.namespaces(t, ctx)
	s.roles(t, ctx)
	apply(t, ctx, config, isolation.Policies(s.classes))
	c := cell{s.classes[0], subject{client: s.admin, namespace: granted, account: "default"}, standard.For(standard.Privileged)[0], standard.InContainer}
	var answer error
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a privileged pod: %v", answer)
		}
	})
	testserver.Eventually(t, "policy that refuses", func() bool {
		answer = s.try(ctx, c, true)
		return apierrors.IsForbidden(answer)
	})
	return s
}

func (s server) namespaces(t *testing.T, ctx context.Context) {
	t.Helper()
	loosest := standard.Restricted
	for _, class := range s.classes {
		if level := class.Level(); level != standard.Restricted && loosest != "privileged" {
			loosest = level
		}
	}
	for name, level := range map[string]string{granted: loosest, plain: standard.Restricted, elsewhere: loosest} {
		_, err := s.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name,
			Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}, metav1.CreateOptions{})
		must(t, err)
		accounts := []string{"default"}
		for _, class := range s.classes {
			accounts = append(accounts, "account-"+class.Name)
		}
		for _, account := range accounts {
			_, err := s.admin.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
			must(t, err)
		}
	}
}

// roles let everybody make pods, and some use classes.
func (s server) roles(t *testing.T, ctx context.Context) {
	t.Helper()
	const rbac = rbacv1.GroupName
	role := func(name string, rules ...rbacv1.PolicyRule) {
		_, err := s.admin.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{})
		must(t, err)
	}
	bind := func(namespace, role string, subjects ...rbacv1.Subject) {
		_, err := s.admin.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role},
			RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "ClusterRole", Name: role}, Subjects: subjects}, metav1.CreateOptions{})
		must(t, err)
	}
	role("maker", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/ephemeralcontainers"}, Verbs: []string{"create", "patch"}})
	bind(granted, "maker", rbacv1.Subject{APIGroup: rbac, Kind: "Group", Name: "system:authenticated"})
	for _, class := range s.classes {
		use := "use-" + class.Name
		role(use, rbacv1.PolicyRule{APIGroups: []string{isolation.Group}, Resources: []string{isolation.Resource},
			ResourceNames: []string{class.Name}, Verbs: []string{isolation.Verb}})
		bind(granted, use, rbacv1.Subject{APIGroup: rbac, Kind: "User", Name: "user-" + class.Name},
			rbacv1.Subject{APIGroup: rbac, Kind: "Group", Name: "group-" + class.Name},
			rbacv1.Subject{Kind: "ServiceAccount", Namespace: granted, Name: "account-" + class.Name})
		bind(elsewhere, use, rbacv1.Subject{APIGroup: rbac, Kind: "User", Name: "user-elsewhere-" + class.Name})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// apply makes the objects of the policies.
func apply(t *testing.T, ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	must(t, err)
	resources := map[string]string{"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings"}
	for _, o := range objects {
		resource := schema.GroupVersionResource{Group: o.GroupVersionKind().Group, Version: o.GroupVersionKind().Version, Resource: resources[o.GetKind()]}
		_, err := client.Resource(resource).Create(ctx, o, metav1.CreateOptions{})
		must(t, err)
	}
}
