package phase

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/contain"
)

const (
	classLabel = "ashlar.dev/class"
	// ClassOfAll is the one that a pod is of which names none.
	ClassOfAll    = "restricted"
	classGroup    = "ashlar.dev"
	classResource = "podclasses"
	useVerb       = "use"
)

// classOf is the class that a pod is of, and why.
func classOf(labels map[string]string) (class, because string) {
	if class, ok := labels[classLabel]; ok {
		return class, "its label " + classLabel
	}
	return ClassOfAll, "no label " + classLabel + " says otherwise"
}

// ceilings are those of a class, as numbers.
func (c *Cluster) ceilings(class string) (contain.Ceilings, error) {
	for _, k := range c.Spec.Spec.Isolation.Classes {
		if k.Name == class {
			return ceilingsOf(k)
		}
	}
	return contain.Ceilings{}, nil
}

func ceilingsOf(k v1alpha1.PodClass) (contain.Ceilings, error) {
	out := contain.Ceilings{ReadOps: int64(k.Disk.ReadOps), WriteOps: int64(k.Disk.WriteOps)}
	for text, to := range map[string]*int64{k.Disk.Read: &out.Read, k.Disk.Write: &out.Write, k.Network.Ingress: &out.In, k.Network.Egress: &out.Out} {
		if text == "" {
			continue
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return out, fmt.Errorf("class %s: %q: %w", k.Name, text, err)
		}
		*to = q.Value()
	}
	return out, nil
}

// options are all classes, as a pod would fare in each.
func (c *Cluster) options(context.Context, kubernetes.Interface, *corev1.Pod) ([]Option, error) {
	return []Option{}, nil
}
