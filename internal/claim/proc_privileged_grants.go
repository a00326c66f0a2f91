package claim

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	podclass "ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
)

// secondLine asks as the operator, who may use every class, in every namespace: beneath the classes, Pod Security has none of it that
// is not granted there, by the file or by hand.
func (p privileges) secondLine(ctx context.Context) ([]podAttempt, error) {
	bindings, err := p.admin.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list what is granted: %w", err)
	}
	var out []podAttempt
	for _, ns := range append(slices.Clone(p.namespaces), p.own) {
		level := podclass.Level(p.Spec.Spec.Isolation, ns, p.labels[ns])
		for _, b := range bindings.Items {
			i := slices.IndexFunc(p.classes, func(c podclass.Class) bool { return podclass.RoleName(c.Name) == b.RoleRef.Name })
			if b.Namespace == ns && i >= 0 {
				level = podclass.Loosest(level, p.classes[i].Level())
			}
		}
		for _, f := range standard.Fixtures {
			named := f.Name == "privileged" || f.Name == "the machine's network" || f.Name == "CHOWN"
			if named && podclass.Loosest(level, cmp.Or(f.Level(), podclass.Privileged)) != level {
				out = append(out, podAttempt{f.Name + " where it is not granted, in " + ns, "operator", p.admin, ns,
					pod(&f, f.Places()[0], podclass.Privileged), Refused, true, gateLevel})
			}
		}
	}
	return out, nil
}

// everybody has the server decide, in every namespace, whether those that nobody is told apart from may use a class.
func (p privileges) everybody(ctx context.Context) ([]Evidence, error) {
	var evidence []Evidence
	for _, ns := range p.namespaces {
		bindings := podclass.Bindings(p.Spec.Spec.Isolation, ns, p.labels[ns])
		for _, s := range subjects([]string{ns}) {
			// Under ABAC those of kube-system may do everything, and what is declared says so.
			if ns == metav1.NamespaceSystem && p.Spec.Spec.Authorization.Mode != v1alpha1.ModeRBAC && slices.Contains(s.groups, "system:serviceaccounts") {
				continue
			}
			for _, class := range p.classes {
				if class.Name == podclass.Restricted {
					continue
				}
				want := Refused
				if slices.ContainsFunc(bindings, func(b rbacv1.RoleBinding) bool {
					return b.Name == podclass.RoleName(class.Name) && granted(b.Subjects, s)
				}) {
					want = Allowed
				}
				r, err := p.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: s.user, Groups: s.groups, ResourceAttributes: &authorizationv1.ResourceAttributes{Group: podclass.Group, Resource: podclass.Resource,
						Namespace: ns, Name: class.Name, Verb: podclass.Verb}}}, metav1.CreateOptions{})
				if err != nil {
					return nil, fmt.Errorf("ask whether %s may use class %s in %s: %w", s.name, class.Name, ns, err)
				}
				e := Evidence{Attempt: "use class " + class.Name + " in " + ns, From: "operator", As: s.name, Want: want, Got: Refused, Answer: "no rule allows it"}
				if r.Status.Allowed {
					e.Got, e.Answer = Allowed, r.Status.Reason
				}
				evidence = append(evidence, e)
			}
		}
	}
	return evidence, nil
}

// granted says whether somebody is among subjects.
func granted(subjects []rbacv1.Subject, who everybody) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			return who.user == "system:serviceaccount:"+s.Namespace+":"+s.Name
		case rbacv1.GroupKind:
			return slices.Contains(who.groups, s.Name)
		default:
			return who.user == s.Name
		}
	})
}

// byDefault is the ServiceAccount that pods of a namespace have that name none.
func byDefault(namespace string) everybody {
	all := subjects([]string{namespace})
	return all[len(all)-1]
}
