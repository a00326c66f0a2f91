package baseline

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
)

// classObjects are the policy that holds pods to their class, and the roles that let some use one.
func classObjects(i v1alpha1.Isolation) ([]*unstructured.Unstructured, error) {
	classes := isolation.Classes(i)
	out := isolation.Policies(classes)
	for _, role := range isolation.Roles(classes) {
		o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&role)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{Object: o}
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		out = append(out, u)
	}
	for _, o := range out {
		label(o)
	}
	return out, nil
}
