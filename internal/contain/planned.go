package contain

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"
)

// Planned is a pod of a file, or the pods of something in a file that makes them.
type Planned struct {
	Kind, Name string
	// Maker is the kind of object that its pods are made for; empty if it is a pod itself.
	Maker string
	Pod   *corev1.Pod
}

// ParsePlanned reads the pods of a file of YAML or JSON documents. Documents of kinds that make no pods say nothing of them.
func ParsePlanned(content []byte) ([]Planned, error) {
	var out []Planned
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		text, err = sigsyaml.YAMLToJSON(text) // what begins with a brace need not be JSON yet
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if runtime.IsNotRegisteredError(err) {
			continue // somebody's own kind
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if p, ok := planned(object); ok {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it has no pods, nor anything that makes them")
	}
	return out, nil
}

func planned(object runtime.Object) (Planned, bool) {
	of := func(kind, maker string, meta metav1.ObjectMeta, t corev1.PodTemplateSpec) (Planned, bool) {
		pod := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
		pod.Name, pod.Namespace = meta.Name, meta.Namespace
		return Planned{Kind: kind, Name: meta.Name, Maker: maker, Pod: pod}, true
	}
	switch o := object.(type) {
	case *corev1.Pod:
		return Planned{Kind: "Pod", Name: o.Name, Pod: o}, true
	case *appsv1.Deployment:
		return of("Deployment", "ReplicaSet", o.ObjectMeta, o.Spec.Template)
	case *appsv1.ReplicaSet:
		return of("ReplicaSet", "ReplicaSet", o.ObjectMeta, o.Spec.Template)
	case *appsv1.StatefulSet:
		return of("StatefulSet", "StatefulSet", o.ObjectMeta, o.Spec.Template)
	case *appsv1.DaemonSet:
		return of("DaemonSet", "DaemonSet", o.ObjectMeta, o.Spec.Template)
	case *batchv1.Job:
		return of("Job", "Job", o.ObjectMeta, o.Spec.Template)
	case *batchv1.CronJob:
		return of("CronJob", "Job", o.ObjectMeta, o.Spec.JobTemplate.Spec.Template)
	default:
		return Planned{}, false
	}
}
