package controller

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// declaredTiers has a small one for shop, whose containers are bounded by the most there, and changes standard.
func declaredTiers() v1alpha1.Isolation {
	return v1alpha1.Isolation{Tiers: []v1alpha1.Tier{
		{Name: "standard", Quota: map[string]string{"pods": "300"}},
		{Name: "small", Namespaces: []v1alpha1.OpenNamespaces{{Namespace: "shop"}, {Labels: map[string]string{"size": "small"}}},
			Quota: map[string]string{"pods": "10"}, Most: map[string]string{"memory": "128Mi", "cpu": "2", "hugepages-2Mi": "0"}},
	}}
}

func TestTierOf(t *testing.T) {
	i := declaredTiers()
	for _, c := range []struct {
		namespace string
		labels    map[string]string
		name      string
		pods      string
		memory    string // limit
		cpu       string // limit
	}{
		{"shop", nil, "small", "10", "128Mi", "500m"},
		{"other", map[string]string{"size": "small"}, "small", "10", "128Mi", "500m"},
		{"other", nil, "standard", "300", "256Mi", "500m"},
	} {
		got := i.TierOf(c.namespace, c.labels)
		if got.Name != c.name || got.Quota["pods"] != c.pods || got.Limits["memory"] != c.memory || got.Limits["cpu"] != c.cpu || got.Quota["limits.cpu"] == "" {
			t.Errorf("%s %v: %+v", c.namespace, c.labels, got)
		}
		for name, most := range got.Most {
			if got.Limits[name] == "" || got.Requests[name] == "" {
				t.Errorf("%s has at most %s of %s, and a container that names none gets none", got.Name, most, name)
			}
		}
	}
}

func TestPlanQuotas(t *testing.T) {
	i := declaredTiers()
	place := func(change func(*corev1.LimitRange, *corev1.ResourceQuota)) Snapshot {
		r, q := limitRange("shop", i.TierOf("shop", nil)), resourceQuota("shop", i.TierOf("shop", nil))
		change(r, q)
		return Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")}, LimitRanges: []*corev1.LimitRange{r}, ResourceQuotas: []*corev1.ResourceQuota{q, noSystemPriority("shop")}}
	}
	dying := namespace("dying")
	dying.DeletionTimestamp = &metav1.Time{}
	for name, c := range map[string]struct {
		have Snapshot
		want []string
	}{
		"a new namespace": {Snapshot{Namespaces: []*corev1.Namespace{namespace("shop")}}, []string{
			"LimitRange shop/ashlar-tier: missing → create it", "ResourceQuota shop/ashlar-tier: missing → create it", "ResourceQuota shop/ashlar-priority: missing → create it"}},
		"the system's": {Snapshot{Namespaces: []*corev1.Namespace{namespace("kube-system")}}, []string{
			"LimitRange kube-system/ashlar-tier: missing → create it", "ResourceQuota kube-system/ashlar-tier: missing → create it"}},
		"all is well": {place(func(*corev1.LimitRange, *corev1.ResourceQuota) {}), nil},
		"raised": {place(func(_ *corev1.LimitRange, q *corev1.ResourceQuota) { q.Spec.Hard["pods"] = resource.MustParse("1000") }),
			[]string{"ResourceQuota shop/ashlar-tier: it says something else than the namespace's tier → update it"}},
		"emptied": {place(func(r *corev1.LimitRange, _ *corev1.ResourceQuota) { r.Spec.Limits = nil }),
			[]string{"LimitRange shop/ashlar-tier: it says something else than the namespace's tier → update it"}},
		"disowned": {place(func(r *corev1.LimitRange, _ *corev1.ResourceQuota) { r.Labels = nil }),
			[]string{"LimitRange shop/ashlar-tier: it has a name of ours, and is not → update it"}},
		"somebody's own": {place(func(r *corev1.LimitRange, _ *corev1.ResourceQuota) { r.Name, r.Labels = "mine", nil }),
			[]string{"LimitRange shop/ashlar-tier: missing → create it"}},
		"of an earlier version": {place(func(_ *corev1.LimitRange, q *corev1.ResourceQuota) { q.Name = "ashlar-old" }),
			[]string{"ResourceQuota shop/ashlar-old: no longer declared → delete it", "ResourceQuota shop/ashlar-tier: missing → create it"}},
		"on its way out": {Snapshot{Namespaces: []*corev1.Namespace{dying}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := texts(PlanQuotas(i, c.have)); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Whatever tier is declared, a container that names nothing gets a limit and a request within it of all that is limited.
func TestTiersAreWhole(t *testing.T) {
	names := rapid.SampledFrom([]string{"cpu", "memory", "ephemeral-storage"})
	values := rapid.MapOf(names, rapid.SampledFrom([]string{"1m", "100m", "1", "64Mi", "1Gi", "8Gi"}))
	rapid.Check(t, func(t *rapid.T) {
		declared := v1alpha1.Tier{Name: "a", Namespaces: []v1alpha1.OpenNamespaces{{Namespace: "a"}}, Requests: values.Draw(t, "requests"),
			Limits: values.Draw(t, "limits"), Most: values.Draw(t, "most")}
		item := limitRange("a", v1alpha1.Isolation{Tiers: []v1alpha1.Tier{declared}}.TierOf("a", nil)).Spec.Limits[0]
		for _, name := range []corev1.ResourceName{"cpu", "memory", "ephemeral-storage"} {
			limit, has := item.Default[name]
			request, requested := item.DefaultRequest[name]
			if !has || !requested || request.Cmp(limit) > 0 {
				t.Fatalf("%s: requests %v of %v", name, request, limit)
			}
			if most, bounded := item.Max[name]; bounded && limit.Cmp(most) > 0 {
				t.Fatalf("%s: %v, at most %v", name, limit, most)
			}
		}
	})
}

// namespacesAreLimited: what limits a namespace is put back, and holds.
func namespacesAreLimited(t *testing.T, ctx context.Context, admin kubernetes.Interface, settled func()) {
	t.Helper()
	if err := admin.CoreV1().LimitRanges("shop").Delete(ctx, TierName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	settled()
	quota, err := admin.CoreV1().ResourceQuotas("shop").Get(ctx, TierName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	quota.Spec.Hard[corev1.ResourcePods] = resource.MustParse("1000")
	if _, err := admin.CoreV1().ResourceQuotas("shop").Update(ctx, quota, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	settled()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "big"}, Spec: corev1.PodSpec{ServiceAccountName: "app", Containers: []corev1.Container{{Name: "c", Image: "i",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}}}}}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := admin.CoreV1().Pods("shop").Create(ctx, pod, dry); err == nil || !strings.Contains(err.Error(), "maximum memory usage per Container is 128Mi") {
		t.Errorf("a container larger than its tier has: %v", err)
	}
}
