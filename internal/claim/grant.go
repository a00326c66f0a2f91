package claim

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	podclass "ashlar.dev/ashlar/internal/isolation"
)

// grantTimeout is how long the baseline controller may take to have Pod Security allow what was granted.
const grantTimeout = 20 * time.Second

// grant lets pods of a namespace of a probe's own be of a built in class, and waits until they can be.
func grant(ctx context.Context, c kubernetes.Interface, namespace, class string) error {
	name := podclass.RoleName(class)
	_, err := c.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "default"}}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("grant class %s in namespace %s: %w", class, namespace, err)
	}
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	for {
		ns, err := c.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if err == nil && ns.Labels["pod-security.kubernetes.io/enforce"] == class {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("class %s is granted in namespace %s, whose Pod Security label does not say so after %s: does the baseline controller work? %w",
				class, namespace, grantTimeout, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
