package phase

import (
	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/ceiling"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/unit"
)

// Option is how a pod would fare as one of a class.
type Option struct {
	Class string `json:"class"`
	// Refuses is what the class does not allow.
	Refuses []isolation.Violation `json:"refuses"`
	// Holders are who may use the class there.
	Holders []authz.Holder `json:"holders"`
}

// optionsFor are all classes, as a pod would fare in each.
func optionsFor(policy *authz.Policy, classes []isolation.Class, pod *corev1.Pod) []Option {
	var out []Option
	for _, class := range classes {
		out = append(out, Option{Class: class.Name, Refuses: class.Check(&pod.ObjectMeta, &pod.Spec), Holders: holders(policy, class.Name, pod.Namespace)})
	}
	return out
}

// holders are who may use a class in a namespace, by RBAC. Everybody may use restricted.
func holders(policy *authz.Policy, class, namespace string) []authz.Holder {
	if class == isolation.Restricted {
		return []authz.Holder{{Principal: authz.Principal{Group: "system:authenticated"}, Everywhere: true, Sources: []string{"of itself"}}}
	}
	return authz.Who(policy, authz.Query{Namespace: &namespace, Name: &class,
		Request: authz.Request{Verb: isolation.Verb, ResourceRequest: true, APIGroup: isolation.Group, Resource: isolation.Resource}})
}

// classOf is the class that a pod is of, and why.
func classOf(labels map[string]string) (class, because string) {
	if _, ok := labels[isolation.LabelClass]; ok {
		return isolation.NameOf(labels), "its label " + isolation.LabelClass
	}
	return isolation.NameOf(labels), "no label " + isolation.LabelClass + " says otherwise"
}

// ceilings are those of a class, as machines are told them.
func (c *Cluster) ceilings(class string) (contain.Ceilings, error) {
	for _, of := range unit.Ceilings(c.Spec.Spec.Isolation) {
		if of.Class == class {
			return ceilingsOf(class, of.Disk, of.Network)
		}
	}
	return contain.Ceilings{}, nil
}

func ceilingsOf(class string, disk v1alpha1.DiskCeiling, network v1alpha1.NetworkCeiling) (contain.Ceilings, error) {
	all, err := ceiling.New([]unit.Ceiling{{Class: class, Disk: disk, Network: network}})
	most := all[class]
	return contain.Ceilings{
		Read: int64(most.Disk.Read), Write: int64(most.Disk.Write), ReadOps: int64(most.Disk.ReadOps), WriteOps: int64(most.Disk.WriteOps),
		In: int64(most.Network.Ingress) * 8, Out: int64(most.Network.Egress) * 8,
	}, err
}
