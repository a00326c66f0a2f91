package main

import (
	"context"
	"fmt"
	"path"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"ashlar.dev/ashlar/internal/unit"
)

// importImage puts the image of ashlar itself on the workers.
func (b *bed) importImage() error {
	for _, image := range b.cluster.Bundle.Manifest.Images {
		if image.Name != "ashlar" {
			continue
		}
		b.image = image.Reference
		for _, w := range b.workers {
			if _, _, err := ashlar(b.file, "exec", w, "--", unit.Bin+"/ctr", "--namespace=k8s.io", "images", "import", "--local",
				unit.ImagesDir+"/"+path.Base(image.File)); err != nil {
				return err
			}
		}
		return nil
	}
	return errImage
}

// namespace makes the namespace, which the cluster's file declares open.
func (b *bed) namespace(ctx context.Context) error {
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	if _, err := b.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: benchNamespace, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make namespace %s: %w", benchNamespace, err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
	if _, err := b.client.CoreV1().ServiceAccounts(benchNamespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make a ServiceAccount: %w", err)
	}
	return nil
}

var bothWays = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}

func (b *bed) pod(name, worker, app string, args ...string) *corev1.Pod {
	no, yes, nobody, none := false, true, int64(65534), int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			NodeName: worker, ServiceAccountName: "probe", AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &none,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "probe", Image: b.image, ImagePullPolicy: corev1.PullNever, Args: append([]string{"probe"}, args...),
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m")}},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// start makes a pod, and returns its address once it runs.
func (b *bed) start(ctx context.Context, pod *corev1.Pod) (string, error) {
	pods := b.client.CoreV1().Pods(benchNamespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("make pod %s: %w", pod.Name, err)
	}
	var at string
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		at = now.Status.PodIP
		return now.Status.Phase == corev1.PodRunning && at != "", nil
	})
	if err != nil {
		return "", fmt.Errorf("wait for pod %s: %w", pod.Name, err)
	}
	return at, nil
}

// fill starts pods that do nothing but be selected by policies: each group of ten has a label of its own.
func (b *bed) fill(ctx context.Context, pods int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(10)
	for i := range pods {
		g.Go(func() error {
			pod := b.pod(fmt.Sprintf("filler-%d", i), b.workers[i%len(b.workers)], "filler")
			pod.Labels["group"] = fmt.Sprint(i % groups)
			pod.Spec.Containers[0].Image, pod.Spec.Containers[0].Args = unit.PauseImage, nil
			_, err := b.start(ctx, pod)
			return err
		})
	}
	return g.Wait()
}

// groups is how many different labels fillers have.
const groups = 10

// policies makes so many of them, those that exist already included: each selects a group of fillers, and lets another
// reach one port.
func (b *bed) policies(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(10)
	for i := range n {
		g.Go(func() error {
			policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("background-%d", i)}, Spec: networkingv1.NetworkPolicySpec{
				PodSelector: group(i), PolicyTypes: bothWays,
				Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: new(group(i + 1))}}, Ports: []networkingv1.NetworkPolicyPort{tcp(1000 + i)}}},
				Egress:  []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{PodSelector: new(group(i + 2))}}, Ports: []networkingv1.NetworkPolicyPort{tcp(1000 + i)}}},
			}}
			_, err := b.client.NetworkingV1().NetworkPolicies(benchNamespace).Create(ctx, policy, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}
