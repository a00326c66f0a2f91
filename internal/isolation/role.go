package isolation

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// RoleName is the ClusterRole, and in namespaces the RoleBinding, that lets some use a class.
func RoleName(class string) string { return "ashlar:class:" + class }

// Roles are those that grants bind: one for each class that not everybody may use.
func Roles(classes []Class) []rbacv1.ClusterRole {
	var out []rbacv1.ClusterRole
	for _, c := range classes {
		if c.Name == Restricted {
			continue
		}
		out = append(out, rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: RoleName(c.Name)},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{Group}, Resources: []string{Resource}, ResourceNames: []string{c.Name}, Verbs: []string{Verb}}},
		})
	}
	return out
}

// Bindings are what the grants make of a namespace: one for each class that somebody may use there.
func Bindings(i v1alpha1.Isolation, namespace string, labels map[string]string) []rbacv1.RoleBinding {
	var out []rbacv1.RoleBinding
	for _, class := range Classes(i) {
		b := rbacv1.RoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RoleName(class.Name)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: RoleName(class.Name)},
		}
		for _, g := range i.Grants {
			if g.Class != class.Name || !g.In(namespace, labels) {
				continue
			}
			for _, s := range subjects(g, namespace) {
				if !slices.Contains(b.Subjects, s) {
					b.Subjects = append(b.Subjects, s)
				}
			}
		}
		if len(b.Subjects) > 0 {
			out = append(out, b)
		}
	}
	return out
}

func subjects(g v1alpha1.ClassGrant, namespace string) []rbacv1.Subject {
	var out []rbacv1.Subject
	for _, name := range g.Users {
		out = append(out, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
	}
	for _, name := range g.Groups {
		out = append(out, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name})
	}
	for _, name := range g.ServiceAccounts {
		if name == v1alpha1.EveryServiceAccount {
			out = append(out, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace})
			continue
		}
		out = append(out, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
	}
	return out
}

// Level is the Pod Security level of a namespace: the strictest at which every class that is granted there can be used.
func Level(i v1alpha1.Isolation, namespace string, labels map[string]string) string {
	level := Restricted
	classes := Classes(i)
	for _, g := range i.Grants {
		if c, ok := Find(classes, g.Class); ok && g.In(namespace, labels) {
			level = Loosest(level, c.Level())
		}
	}
	return level
}

// Loosest is the one of some levels that allows most.
func Loosest(of ...string) string {
	level := 0
	for _, l := range of {
		level = max(level, slices.Index(levels, l))
	}
	return levels[level]
}

// LevelLabels are how Pod Security is told, of every version of the standards: the newest.
func LevelLabels(level string) map[string]string {
	out := map[string]string{}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		out["pod-security.kubernetes.io/"+mode] = level
		out["pod-security.kubernetes.io/"+mode+"-version"] = "latest"
	}
	return out
}
