// Package controller is the baseline controller: it gives every namespace, old and new, what each must have, and gives it
// back when somebody takes it away. It never touches what it did not place.
package controller

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/unit"
)

// partOf tells what the controller placed from what `ashlar up` did.
const partOf = "namespace"

// Selector is of all that the controller has placed.
const Selector = baseline.LabelManagedBy + "=ashlar," + baseline.LabelPartOf + "=" + partOf

// Snapshot is what a cluster has, as far as the controller looks.
type Snapshot struct {
	Namespaces          []*corev1.Namespace
	ServiceAccounts     []*corev1.ServiceAccount
	RoleBindings        []*rbacv1.RoleBinding
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	NetworkPolicies     []*networkingv1.NetworkPolicy
	LimitRanges         []*corev1.LimitRange
	ResourceQuotas      []*corev1.ResourceQuota
}

// Verb is what a Change does.
type Verb string

// The verbs of changes. Replace is for a binding whose role is another: that cannot be changed.
const (
	Create  Verb = "create"
	Update  Verb = "update"
	Replace Verb = "replace"
	Delete  Verb = "delete"
	// Unmount has a ServiceAccount's pods get no token that they do not ask for.
	Unmount Verb = "unmount"
	// Label sets a namespace's labels.
	Label Verb = "label"
)

// Change is one thing that is not as it should be, and what to do about it.
type Change struct {
	Verb   Verb
	Object metav1.Object
	Why    string
}

// Name is how people see the object.
func (c Change) Name() string {
	kind := map[bool]string{true: "RoleBinding", false: "ClusterRoleBinding"}[c.Object.GetNamespace() != ""]
	switch c.Object.(type) {
	case *corev1.Namespace:
		kind = "Namespace"
	case *corev1.ServiceAccount:
		kind = "ServiceAccount"
	case *networkingv1.NetworkPolicy:
		kind = "NetworkPolicy"
	case *corev1.LimitRange:
		kind = "LimitRange"
	case *corev1.ResourceQuota:
		kind = "ResourceQuota"
	}
	if ns := c.Object.GetNamespace(); ns != "" {
		return fmt.Sprintf("%s %s/%s", kind, ns, c.Object.GetName())
	}
	return kind + " " + c.Object.GetName()
}

func (c Change) String() string { return c.Name() + ": " + c.Why + " → " + string(c.Verb) + " it" }

// Plan says what differs between a cluster and what is declared.
func Plan(a unit.Access, i v1alpha1.Isolation, s Snapshot) []Change {
	accounts := authz.Accounts{}
	for _, ns := range s.Namespaces {
		if ns.DeletionTimestamp == nil {
			accounts[ns.Name] = nil
		}
	}
	var out []Change
	for _, sa := range s.ServiceAccounts {
		if _, alive := accounts[sa.Namespace]; !alive || sa.DeletionTimestamp != nil {
			continue
		}
		accounts[sa.Namespace] = append(accounts[sa.Namespace], sa.Name)
		if mounts := sa.AutomountServiceAccountToken; sa.Name == authz.DefaultAccount && (mounts == nil || *mounts) {
			out = append(out, Change{Unmount, sa, "every pod would get its token"})
		}
	}
	// In ABAC mode nobody asks RBAC about ServiceAccounts. What it says is there all the same, or a change of mode would
	// refuse for a moment what both allow.
	wanted := map[string]metav1.Object{}
	for ns, names := range accounts {
		if b := authz.Model(a.ServiceAccounts).Binding(ns, names); b != nil {
			b.SetLabels(map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf})
			wanted[key(b)] = b
		}
	}
	for _, ns := range s.Namespaces {
		if !alive(accounts, ns.Name) {
			continue
		}
		for _, b := range isolation.Bindings(i, ns.Name, ns.Labels) {
			b.Labels = map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf}
			wanted[key(&b)] = &b
		}
	}
	for _, b := range s.RoleBindings {
		out = append(out, compare(wanted, b, alive(accounts, b.Namespace), b.RoleRef, b.Subjects)...)
	}
	for _, b := range s.ClusterRoleBindings {
		out = append(out, compare(wanted, b, true, b.RoleRef, b.Subjects)...)
	}
	for _, b := range wanted {
		out = append(out, Change{Create, b, "missing"})
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Name(), b.Name()) })
	return out
}

func alive(accounts authz.Accounts, namespace string) bool {
	_, ok := accounts[namespace]
	return ok
}

func key(o metav1.Object) string { return o.GetNamespace() + "/" + o.GetName() }

// compare takes an object that exists out of those that are wanted, and says what is wrong with it.
func compare(wanted map[string]metav1.Object, have metav1.Object, alive bool, ref rbacv1.RoleRef, subjects []rbacv1.Subject) []Change {
	want, is := wanted[key(have)]
	delete(wanted, key(have))
	switch {
	case have.GetDeletionTimestamp() != nil || !alive:
		return nil
	case !ours(have):
		return nil // somebody else's, even under this name: it is theirs to remove
	case !is:
		return []Change{{Delete, have, "no longer declared"}}
	}
	wantRef, wantSubjects := binding(want)
	want.SetResourceVersion(have.GetResourceVersion())
	switch {
	case ref != wantRef:
		return []Change{{Replace, want, "of another role"}}
	case !reflect.DeepEqual(subjects, wantSubjects):
		return []Change{{Update, want, "of others"}}
	}
	return nil
}

func ours(o metav1.Object) bool {
	l := o.GetLabels()
	return l[baseline.LabelManagedBy] == "ashlar" && l[baseline.LabelPartOf] == partOf
}

func binding(o metav1.Object) (rbacv1.RoleRef, []rbacv1.Subject) {
	switch b := o.(type) {
	case *rbacv1.RoleBinding:
		return b.RoleRef, b.Subjects
	case *rbacv1.ClusterRoleBinding:
		return b.RoleRef, b.Subjects
	}
	return rbacv1.RoleRef{}, nil
}
