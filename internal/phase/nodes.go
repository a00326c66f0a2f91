package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
)

const (
	// nodesTimeout is how long workers and DNS may take once the control plane answers.
	nodesTimeout = 3 * time.Minute
	// glance is how long something that is as it should be takes to say so.
	glance = time.Second
)

// observeNodes compares the nodes that Kubernetes has with the workers that the file declares.
func observeNodes(ctx context.Context, c *Cluster) ([]Drift, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	if err := apiAnswers(ctx, config); err != nil {
		return []Drift{{Object: "nodes", Cause: "the API does not answer", Action: "wait for it"}}, nil
	}
	drift, err := c.nodeDrift(ctx)
	if apierrors.IsForbidden(err) {
		return []Drift{{Object: "nodes", Cause: "administrators may not see them", Action: "look again"}}, nil
	}
	if err != nil || len(drift) > 0 {
		return drift, err // and DNS has nowhere to run
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	if err := baseline.Ready(ctx, config); err != nil {
		drift = append(drift, Drift{Object: "coredns", Cause: err.Error(), Action: "wait for it"})
	}
	return drift, nil
}

// applyNodes deletes the nodes of machines that are gone, and waits for the others and for DNS.
func applyNodes(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience(nodesTimeout))
	defer cancel()
	client, err := c.clientset(ctx)
	if err != nil {
		return err
	}
	revoked, err := c.revoked(ctx)
	if err != nil {
		return err
	}
	for {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		machines, err := c.Machines(ctx) // after the nodes: whose machine came meanwhile is no stray
		if err != nil {
			return err
		}
		for _, name := range strayNodes(inService(machines, revoked), nodes.Items) {
			if err := deleteNode(ctx, client, name); err != nil {
				return err
			}
		}
		drift, err := c.nodeDrift(ctx)
		if err != nil {
			return err
		}
		if len(drift) == 0 {
			break
		}
		progress.Detail("%s: %s", drift[0].Object, drift[0].Cause)
		select {
		case <-ctx.Done():
			return errors.New(drift[0].Object + ": " + drift[0].Cause + "; see `ashlar status` and `ashlar logs " + drift[0].Object + " kubelet`")
		case <-time.After(look):
		}
	}
	progress.Detail("waiting for DNS")
	config, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	return baseline.Ready(ctx, config)
}

// deleteNode deletes the node of a machine that is gone or revoked, and its pods with it: their tokens end, and what they did is
// done elsewhere at once.
func deleteNode(ctx context.Context, client kubernetes.Interface, name string) error {
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete node %s, whose machine is gone: %w", name, err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + name})
	if err != nil {
		return fmt.Errorf("list the pods of node %s: %w", name, err)
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	for _, p := range pods.Items {
		if err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, now); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete pod %s/%s of node %s: %w", p.Namespace, p.Name, name, err)
		}
	}
	return nil
}

// nodeDrift reads nodes, pods and what machines report, and compares.
func (c *Cluster) nodeDrift(ctx context.Context) ([]Drift, error) {
	client, err := c.clientset(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0"}) // of a cache: there may be many
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	booted := map[string]time.Time{}
	var machines []provider.Machine
	for _, e := range all {
		booted[e.machine.Name] = e.status.Booted
		machines = append(machines, e.machine)
	}
	revoked, err := c.revoked(ctx)
	if err != nil {
		return nil, err
	}
	return compareNodes(inService(machines, revoked), booted, nodes.Items, pods.Items), nil
}

// compareNodes decides which declared workers are not as they should be. What Kubernetes says of a machine from before
// it last booted is not true any more, though Kubernetes has not noticed.
func compareNodes(want []v1alpha1.Machine, booted map[string]time.Time, nodes []corev1.Node, pods []corev1.Pod) []Drift {
	byName := map[string]corev1.Node{}
	for _, n := range nodes {
		byName[n.Name] = n
	}
	var drift []Drift
	for _, m := range want {
		if m.Role != v1alpha1.RoleWorker {
			continue
		}
		since := booted[m.Name].Truncate(time.Second) // Kubernetes counts in seconds
		if cause := nodeProblem(byName[m.Name], since); cause != "" {
			drift = append(drift, Drift{Object: m.Name, Cause: cause, Action: "wait for it"})
		} else if n := staleContainers(pods, m.Name, since); n > 0 {
			drift = append(drift, Drift{Object: m.Name, Cause: fmt.Sprintf("%d containers have not started again since it booted", n), Action: "wait for them"})
		}
	}
	for _, name := range strayNodes(want, nodes) {
		drift = append(drift, Drift{Object: name, Cause: "no machine of this name is in service any more", Action: "delete the node"})
	}
	return drift
}

// nodeProblem says why a node is not in service since its machine booted, or nothing.
func nodeProblem(n corev1.Node, booted time.Time) string {
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type != corev1.NodeReady:
		case c.Status != corev1.ConditionTrue:
			return "the node is not Ready: " + c.Message
		case c.LastHeartbeatTime.Time.Before(booted):
			return "the node has not reported since it booted"
		default:
			return ""
		}
	}
	return "the node has not registered"
}

// staleContainers counts what is said to run on a node from before its machine booted.
func staleContainers(pods []corev1.Pod, node string, booted time.Time) int {
	stale := 0
	for _, p := range pods {
		if p.Spec.NodeName != node || p.DeletionTimestamp != nil {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Running != nil && s.State.Running.StartedAt.Time.Before(booted) {
				stale++
			}
		}
	}
	return stale
}

// strayNodes are those of machines that are not declared any more.
func strayNodes(want []v1alpha1.Machine, nodes []corev1.Node) []string {
	declared := map[string]bool{}
	for _, m := range want {
		declared[m.Name] = m.Role == v1alpha1.RoleWorker
	}
	var out []string
	for _, n := range nodes {
		if !declared[n.Name] {
			out = append(out, n.Name)
		}
	}
	return out
}
