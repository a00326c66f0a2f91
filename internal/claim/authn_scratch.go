package claim

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// scratch makes a namespace of one probe's own, and returns what removes it.
func scratch(ctx context.Context, c kubernetes.Interface, prefix string) (string, func(), error) {
	ns, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("make a namespace to try in: %w", err)
	}
	return ns.Name, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		none := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
		_ = c.CoreV1().Pods(ns.Name).DeleteCollection(ctx, none, metav1.ListOptions{})
		_ = c.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	}, nil
}

// podWithAccount makes a ServiceAccount, a Secret and a pod that uses both, all of one name. The pod never runs a
// process: it is there to be bound to. With no node, no scheduler picks it up.
func podWithAccount(ctx context.Context, c kubernetes.Interface, ns, name, node string) (*corev1.Pod, error) {
	meta := metav1.ObjectMeta{Name: name, Namespace: ns}
	no, yes := false, true
	_, err := c.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta, AutomountServiceAccountToken: &no}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make ServiceAccount %s/%s: %w", ns, name, err)
	}
	_, err = c.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"for": name}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make Secret %s/%s: %w", ns, name, err)
	}
	pod, err := c.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
		ServiceAccountName: name, NodeName: node, SchedulerName: "nobody", AutomountServiceAccountToken: &yes, // a node may only mint what a pod mounts
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "none", Image: "ashlar.dev/there-is-no-such-image", ImagePullPolicy: corev1.PullNever,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		Volumes: []corev1.Volume{{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make pod %s/%s: %w", ns, name, err)
	}
	return pod, nil
}
