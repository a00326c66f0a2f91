package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
)

// PlanLevels says which namespaces' labels have Pod Security allow more, or less, than the classes of pods granted there need. It is
// the second line: classes hold in a namespace that has no label, too.
func PlanLevels(i v1alpha1.Isolation, s Snapshot) []Change {
	var out []Change
	for _, ns := range s.Namespaces {
		if ns.DeletionTimestamp != nil {
			continue
		}
		level := isolation.Level(i, ns.Name, ns.Labels)
		if !slices.Contains(kept, ns.Name) {
			level = isolation.Loosest(level, byHand(i, ns.Name, s))
		}
		labelled := ns.DeepCopy()
		if labelled.Labels == nil {
			labelled.Labels = map[string]string{}
		}
		maps.Copy(labelled.Labels, isolation.LevelLabels(level))
		if !maps.Equal(labelled.Labels, ns.Labels) {
			out = append(out, Change{Label, labelled, "its Pod Security labels do not say " + level})
		}
	}
	return out
}

// kept are the namespaces whose level is the file's alone: `ashlar up` sees to their labels, too.
var kept = []string{metav1.NamespaceSystem, metav1.NamespaceDefault, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// byHand is the level of what somebody bound in a namespace who may: RBAC lets nobody give what they do not have.
func byHand(i v1alpha1.Isolation, namespace string, s Snapshot) string {
	level := isolation.Restricted
	for _, b := range s.RoleBindings {
		if b.Namespace != namespace || b.RoleRef.Kind != "ClusterRole" || ours(b) || len(b.Subjects) == 0 {
			continue
		}
		for _, c := range isolation.Classes(i) {
			if b.RoleRef.Name == isolation.RoleName(c.Name) {
				level = isolation.Loosest(level, c.Level())
			}
		}
	}
	return level
}

// levelPatch sets Pod Security's labels and no others.
func levelPatch(ns *corev1.Namespace) ([]byte, error) {
	labels := map[string]string{}
	for key := range isolation.LevelLabels("") {
		labels[key] = ns.Labels[key]
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return nil, fmt.Errorf("write labels of namespace %s: %w", ns.Name, err)
	}
	return patch, nil
}
