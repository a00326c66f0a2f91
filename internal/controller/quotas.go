package controller

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
)

// Names of what says how much a namespace may take.
const (
	// TierName is of a namespace's LimitRange and of its ResourceQuota.
	TierName = "ashlar-tier"
	// PriorityName is of the ResourceQuota that keeps the priorities of the system for kube-system: a pod of such a priority has
	// others evicted.
	PriorityName = "ashlar-priority"
)

// PlanQuotas says which LimitRanges and ResourceQuotas of ours differ from the tiers.
func PlanQuotas(i v1alpha1.Isolation, s Snapshot) []Change {
	var ranges []*corev1.LimitRange
	var quotas []*corev1.ResourceQuota
	for _, ns := range s.Namespaces {
		if ns.DeletionTimestamp != nil {
			continue
		}
		tier := i.TierOf(ns.Name, ns.Labels)
		ranges = append(ranges, limitRange(ns.Name, tier))
		quotas = append(quotas, resourceQuota(ns.Name, tier))
		if ns.Name != metav1.NamespaceSystem {
			quotas = append(quotas, noSystemPriority(ns.Name))
		}
	}
	return append(
		place(s, ranges, s.LimitRanges, func(want, have *corev1.LimitRange) bool { return apiequality.Semantic.DeepEqual(want.Spec, have.Spec) }),
		place(s, quotas, s.ResourceQuotas, func(want, have *corev1.ResourceQuota) bool {
			return apiequality.Semantic.DeepEqual(want.Spec, have.Spec)
		})...)
}

// place says what makes the objects that exist those that are wanted. What is neither ours nor has a name of ours stays.
func place[T metav1.Object](s Snapshot, wanted, have []T, same func(want, have T) bool) []Change {
	byKey := map[string]T{}
	for _, o := range wanted {
		byKey[key(o)] = o
	}
	var out []Change
	for _, h := range have {
		w, is := byKey[key(h)]
		delete(byKey, key(h))
		switch {
		case h.GetDeletionTimestamp() != nil || terminating(s.Namespaces, h.GetNamespace()):
			continue
		case is && !ours(h):
			out = append(out, Change{Update, over(w, h), "it has a name of ours, and is not"})
		case is && !same(w, h):
			out = append(out, Change{Update, over(w, h), "it says something else than the namespace's tier"})
		case !is && ours(h):
			out = append(out, Change{Delete, h, "no longer declared"})
		}
	}
	for _, o := range wanted {
		if _, missing := byKey[key(o)]; missing {
			out = append(out, Change{Create, o, "missing"})
		}
	}
	return out
}

func over[T metav1.Object](want, have T) T {
	want.SetResourceVersion(have.GetResourceVersion())
	return want
}

func placedIn(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{baseline.LabelManagedBy: "ashlar", baseline.LabelPartOf: partOf}}
}

// limitRange has each container get limits and requests: none is BestEffort, and none may take all there is.
func limitRange(namespace string, t v1alpha1.Tier) *corev1.LimitRange {
	return &corev1.LimitRange{ObjectMeta: placedIn(namespace, TierName), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type: corev1.LimitTypeContainer, Default: quantities(t.Limits), DefaultRequest: quantities(t.Requests), Max: quantities(t.Most)}}}}
}

func resourceQuota(namespace string, t v1alpha1.Tier) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{ObjectMeta: placedIn(namespace, TierName), Spec: corev1.ResourceQuotaSpec{Hard: quantities(t.Quota)}}
}

func noSystemPriority(namespace string) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{ObjectMeta: placedIn(namespace, PriorityName), Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")},
		ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
			ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn,
			Values: []string{"system-cluster-critical", "system-node-critical"}}}}}}
}

// quantities leaves out what is no quantity: the file is checked before anybody goes by it.
func quantities(of map[string]string) corev1.ResourceList {
	if len(of) == 0 {
		return nil
	}
	out := corev1.ResourceList{}
	for name, text := range of {
		if q, err := resource.ParseQuantity(text); err == nil {
			out[corev1.ResourceName(name)] = q
		}
	}
	return out
}
