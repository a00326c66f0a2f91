package controller

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
)

// Policies are the NetworkPolicies that namespaces must have, and which namespaces must have none.
type Policies struct {
	Declared v1alpha1.NetworkPolicy
	Compiled []networkingv1.NetworkPolicy
}

// PlanPolicies says which NetworkPolicies of ours differ from what is declared. In an open namespace one would close what it
// selects: there it goes.
func PlanPolicies(p Policies, s Snapshot) []Change {
	closed := map[string]bool{}
	for _, ns := range s.Namespaces {
		closed[ns.Name] = ns.DeletionTimestamp == nil && !p.Declared.Opens(ns.Name, ns.Labels)
	}
	wanted := map[string]*networkingv1.NetworkPolicy{}
	for _, np := range p.Compiled {
		if closed[np.Namespace] {
			np.Labels = map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf}
			wanted[key(&np)] = &np
		}
	}
	var out []Change
	for _, have := range s.NetworkPolicies {
		want, is := wanted[key(have)]
		delete(wanted, key(have))
		switch {
		case have.DeletionTimestamp != nil || terminating(s.Namespaces, have.Namespace):
		case is && !ours(have):
			out = append(out, Change{Update, changed(have, want), "it has a name of ours, and is not"})
		case is && !apiequality.Semantic.DeepEqual(have.Spec, want.Spec):
			out = append(out, Change{Update, changed(have, want), "it says something else than what is declared"})
		case !is && ours(have):
			out = append(out, Change{Delete, have, "no longer declared"})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(wanted)) {
		out = append(out, Change{Create, wanted[k], "missing"})
	}
	return out
}

func changed(have, want *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	want = want.DeepCopy()
	want.ResourceVersion = have.ResourceVersion
	return want
}

func terminating(namespaces []*corev1.Namespace, name string) bool {
	i := slices.IndexFunc(namespaces, func(ns *corev1.Namespace) bool { return ns.Name == name })
	return i < 0 || namespaces[i].DeletionTimestamp != nil
}
