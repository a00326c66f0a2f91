package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/internal/unit"
)

// lookForDeparted is how often nodes are looked at. Kubernetes says of one that is silent after 50 s that it is not Ready.
const lookForDeparted = 20 * time.Second

// forget deletes the nodes of instances that are terminated, until ctx ends. Kubernetes deletes their pods, whose controllers make
// others.
func forget(ctx context.Context, client kubernetes.Interface, o Options) {
	for {
		names, err := departed(ctx, client, o)
		for _, name := range names {
			o.Log.Info("the instance of a node is terminated: it is deleted", "node", name)
		}
		if err != nil && ctx.Err() == nil {
			o.Log.Error("look for nodes whose instance is terminated", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookForDeparted):
		}
	}
}

// departed deletes the nodes that have, and returns them.
func departed(ctx context.Context, client kubernetes.Interface, o Options) ([]string, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"}) // of a cache
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	asked := silent(nodes.Items)
	if len(asked) == 0 {
		return nil, nil
	}
	gone, err := o.Gone(ctx, asked)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range nodes.Items {
		if !slices.Contains(gone, unit.MemberInstance(n.Name)) {
			continue
		}
		// This very node: another of the same name may have come meanwhile.
		err := client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &n.UID}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return out, fmt.Errorf("delete node %s: %w", n.Name, err)
		}
		out = append(out, n.Name)
	}
	return out, nil
}

// silent are the instances of nodes that are not Ready: no other is worth a question.
func silent(nodes []corev1.Node) []string {
	var out []string
	for _, n := range nodes {
		ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if unit.IsMember(n.Name) && !ready {
			out = append(out, unit.MemberInstance(n.Name))
		}
	}
	return out
}
