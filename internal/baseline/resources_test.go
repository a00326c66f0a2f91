package baseline

import (
	"context"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// containersAreLimited: where no LimitRange does so (there is none here), admission gives each container what it does not name, and
// leaves what it names.
func containersAreLimited(t *testing.T, ctx context.Context, pods dynamic.ResourceInterface, restricted map[string]any) {
	t.Helper()
	type list = map[string]any
	for name, c := range map[string]struct{ has, limits, requests list }{
		"nothing": {nil, list{"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "4Gi"}, list{"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"}},
		"a limit": {list{"limits": list{"memory": "32Mi"}},
			list{"cpu": "500m", "memory": "32Mi", "ephemeral-storage": "4Gi"}, list{"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "64Mi"}},
		"a request beyond the limit of others": {list{"requests": list{"cpu": "2", "memory": "16Mi"}},
			list{"cpu": "2", "memory": "256Mi", "ephemeral-storage": "4Gi"}, list{"cpu": "2", "memory": "16Mi", "ephemeral-storage": "64Mi"}},
		"all": {list{"limits": list{"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "hugepages-2Mi": "2Mi"}, "requests": list{"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}},
			list{"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "hugepages-2Mi": "2Mi"}, list{"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "hugepages-2Mi": "2Mi"}},
	} {
		container := maps.Clone(restricted)
		if c.has != nil {
			container["resources"] = c.has
		}
		init := maps.Clone(container)
		init["name"] = "init"
		sidecar := maps.Clone(container)
		sidecar["name"], sidecar["restartPolicy"] = "sidecar", "Always"
		pod := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": list{"name": "limited"},
			"spec": list{"containers": []any{container}, "initContainers": []any{init, sidecar}}}}
		got, err := pods.Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, kind := range []string{"containers", "initContainers"} {
			all, _, _ := unstructured.NestedSlice(got.Object, "spec", kind)
			for _, c2 := range all {
				has := c2.(map[string]any)
				if d := cmp.Diff(map[string]any{"limits": c.limits, "requests": c.requests}, has["resources"]); d != "" {
					t.Errorf("%s: %v %v:\n%s", name, kind, has["name"], d)
				}
			}
		}
	}
}
