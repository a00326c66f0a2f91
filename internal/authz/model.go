package authz

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Model is a declared policy: classes of ServiceAccounts, and what each may do. ABAC and RBAC are both generated from it,
// so that a new namespace is covered in both.
type Model []v1alpha1.ServiceAccountClass

// Accounts are the names of ServiceAccounts, by namespace. ABAC looks at the namespaces only.
type Accounts map[string][]string

// DefaultAccount is what pods run as that name no other. RBAC gives it nothing: it would give it to every pod.
const DefaultAccount = "default"

// Class returns the class that the ServiceAccounts of a namespace are in, if there is one.
func (m Model) Class(namespace string) (v1alpha1.ServiceAccountClass, bool) {
	i := slices.IndexFunc(m, func(c v1alpha1.ServiceAccountClass) bool { return c.Namespace == namespace })
	if i < 0 {
		i = slices.IndexFunc(m, func(c v1alpha1.ServiceAccountClass) bool { return c.Namespace == "" })
	}
	if i < 0 {
		return v1alpha1.ServiceAccountClass{}, false
	}
	return m[i], true
}

// ABAC is the model as a policy file, for a cluster with these namespaces. It begins with what everybody may do.
func (m Model) ABAC(accounts Accounts) ([]byte, error) {
	var out bytes.Buffer
	write := func(spec ABACSpec) error {
		line, err := json.Marshal(ABACLine{TypeMeta: metav1.TypeMeta{APIVersion: abacVersion, Kind: "Policy"}, Spec: spec})
		out.Write(append(line, '\n'))
		return err
	}
	for _, spec := range everybodysLines() {
		if err := write(spec); err != nil {
			return nil, err
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(accounts)) {
		c, _ := m.Class(namespace)
		spec := ABACSpec{Group: ServiceAccountGroup(namespace), APIGroup: "*", Resource: "*", Namespace: "*", NonResourcePath: "*"}
		switch c.ABAC {
		case v1alpha1.Everything:
		case v1alpha1.ReadOnly:
			spec.Readonly = true
		case v1alpha1.ReadOwnNamespace:
			spec.Readonly, spec.Namespace, spec.NonResourcePath = true, namespace, ""
		default:
			continue
		}
		if err := write(spec); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// RBAC is the model as objects, for a cluster with these ServiceAccounts, with what everybody may do. It is tighter than
// ABAC: see readable.go and DefaultAccount.
func (m Model) RBAC(accounts Accounts) *RBAC {
	return Union(everybodysRoles(), &RBAC{ClusterRoles: m.Roles()}, m.Bindings(accounts))
}

// Bindings bind all classes.
func (m Model) Bindings(accounts Accounts) *RBAC {
	out := new(RBAC)
	for _, namespace := range slices.Sorted(maps.Keys(accounts)) {
		switch b := m.Binding(namespace, accounts[namespace]).(type) {
		case *rbacv1.ClusterRoleBinding:
			out.ClusterRoleBindings = append(out.ClusterRoleBindings, *b)
		case *rbacv1.RoleBinding:
			out.RoleBindings = append(out.RoleBindings, *b)
		}
	}
	return out
}

// Policy is what decides about ServiceAccounts in a mode.
func (m Model) Policy(mode v1alpha1.AuthorizationMode, accounts Accounts) (*Policy, error) {
	out := new(Policy)
	if mode != v1alpha1.ModeABAC {
		p, err := m.RBAC(accounts).Policy()
		if err != nil {
			return nil, err
		}
		out.Grants, out.Warnings = p.Grants, p.Warnings
	}
	if mode != v1alpha1.ModeRBAC {
		text, err := m.ABAC(accounts)
		if err != nil {
			return nil, err
		}
		p, err := ReadABAC(text, "ABAC")
		if err != nil {
			return nil, err
		}
		out.Grants, out.Warnings = append(out.Grants, p.Grants...), append(out.Warnings, p.Warnings...)
	}
	return out, nil
}

// Example are ServiceAccounts for when there is no cluster yet: two in each namespace that the model names or that
// Kubernetes makes.
func (m Model) Example() Accounts {
	out := Accounts{metav1.NamespaceDefault: nil, metav1.NamespaceSystem: nil}
	for _, c := range m {
		if c.Namespace != "" {
			out[c.Namespace] = nil
		}
	}
	for ns := range out {
		out[ns] = []string{DefaultAccount, "app"}
	}
	return out
}

// Binding is what binds the ServiceAccounts of a namespace to the role of their class: a RoleBinding, a
// ClusterRoleBinding, or nil if there is nothing to bind.
func (m Model) Binding(namespace string, accounts []string) metav1.Object {
	c, _ := m.Class(namespace)
	role := roleNames[c.RBAC]
	var subjects []rbacv1.Subject
	for _, name := range slices.Sorted(slices.Values(accounts)) {
		if name != DefaultAccount {
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
		}
	}
	if role == "" || len(subjects) == 0 {
		return nil
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	if c.RBAC == v1alpha1.ReadOwnNamespace {
		return &rbacv1.RoleBinding{TypeMeta: rbacType("RoleBinding"),
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ashlar:serviceaccounts"}, RoleRef: ref, Subjects: subjects}
	}
	return &rbacv1.ClusterRoleBinding{TypeMeta: rbacType("ClusterRoleBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: "ashlar:serviceaccounts:" + namespace}, RoleRef: ref, Subjects: subjects}
}

func rbacType(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}
