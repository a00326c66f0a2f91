package authz

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The API server's own checks of RBAC objects; what it would refuse is not a policy.

type failFunc = func(path, format string, args ...any)

func validRole(r *rbacv1.Role, fail failFunc) {
	validMeta(&r.ObjectMeta, true, fail)
	validRules(r.Rules, true, fail)
}

func validClusterRole(r *rbacv1.ClusterRole, fail failFunc) {
	validMeta(&r.ObjectMeta, false, fail)
	validRules(r.Rules, false, fail)
	if r.AggregationRule == nil {
		return
	}
	if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
		fail("aggregationRule", "has no clusterRoleSelectors")
	}
	for i := range r.AggregationRule.ClusterRoleSelectors {
		if _, err := metav1.LabelSelectorAsSelector(&r.AggregationRule.ClusterRoleSelectors[i]); err != nil {
			fail(fmt.Sprintf("aggregationRule.clusterRoleSelectors[%d]", i), "%v", err)
		}
	}
}

func validRoleBinding(b *rbacv1.RoleBinding, fail failFunc) {
	validMeta(&b.ObjectMeta, true, fail)
	if b.RoleRef.Kind != "Role" && b.RoleRef.Kind != "ClusterRole" {
		fail("roleRef.kind", "is %q; a RoleBinding refers to a Role or a ClusterRole", b.RoleRef.Kind)
	}
	validRef(b.RoleRef, fail)
	validSubjects(b.Subjects, true, fail)
}

func validClusterRoleBinding(b *rbacv1.ClusterRoleBinding, fail failFunc) {
	validMeta(&b.ObjectMeta, false, fail)
	if b.RoleRef.Kind != "ClusterRole" {
		fail("roleRef.kind", "is %q; a ClusterRoleBinding refers to a ClusterRole", b.RoleRef.Kind)
	}
	validRef(b.RoleRef, fail)
	validSubjects(b.Subjects, false, fail)
}

func validMeta(m *metav1.ObjectMeta, namespaced bool, fail failFunc) {
	switch {
	case m.Name == "":
		fail("metadata.name", "is missing")
	case namespaced && m.Namespace == "":
		fail("metadata.namespace", "is missing; there is no default here")
	case !namespaced && m.Namespace != "":
		fail("metadata.namespace", "has no meaning in an object of the whole cluster")
	}
}

func validRef(ref rbacv1.RoleRef, fail failFunc) {
	if ref.APIGroup != "" && ref.APIGroup != rbacv1.GroupName {
		fail("roleRef.apiGroup", "is %q, not %s", ref.APIGroup, rbacv1.GroupName)
	}
	if ref.Name == "" {
		fail("roleRef.name", "is missing")
	}
}

func validRules(rules []rbacv1.PolicyRule, namespaced bool, fail failFunc) {
	for i, r := range rules {
		at := fmt.Sprintf("rules[%d]", i)
		paths := len(r.NonResourceURLs) > 0
		switch {
		case len(r.Verbs) == 0:
			fail(at, "has no verbs")
		case paths && namespaced:
			fail(at+".nonResourceURLs", "has no meaning in a Role, which is of one namespace")
		case paths && len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0:
			fail(at, "has both resources and nonResourceURLs")
		case !paths && len(r.APIGroups) == 0:
			fail(at, `has no apiGroups; the core group is ""`)
		case !paths && len(r.Resources) == 0:
			fail(at, "has no resources")
		}
	}
}

func validSubjects(subjects []rbacv1.Subject, namespaced bool, fail failFunc) {
	for i, s := range subjects {
		at := fmt.Sprintf("subjects[%d]", i)
		group := rbacv1.GroupName
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			group = ""
			if !namespaced && s.Namespace == "" {
				fail(at, "is a ServiceAccount without a namespace")
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
		default:
			fail(at+".kind", "is %q, not User, Group or ServiceAccount", s.Kind)
			continue
		}
		if s.Name == "" {
			fail(at, "has no name")
		}
		if s.APIGroup != "" && s.APIGroup != group {
			fail(at+".apiGroup", "is %q, not %q", s.APIGroup, group)
		}
	}
}
