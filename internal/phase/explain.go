package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// Explanation is why a pod may be as it is, and what its machine's kernel makes of that.
type Explanation struct {
	Pod  string `json:"pod"`
	Node string `json:"node"`
	// Class is the pod's, and Because where that comes from.
	Class   string `json:"class"`
	Because string `json:"because"`
	// Uses are those of whom the class was asked for: one of them must be allowed to use it.
	Uses []Use `json:"uses"`
	// Holders are all who may use that class here.
	Holders []authz.Holder `json:"holders"`
	// Refuses is what the class does not allow of what the pod is: it was made before the class was as it is now, or past admission.
	Refuses []isolation.Violation `json:"refuses"`
	// Kernel is the machine's, and Facts what it does, beside what the pod says.
	Kernel contain.Kernel `json:"kernel"`
	Facts  []contain.Fact `json:"facts"`
}

// Use is the API's answer to whether somebody may use a class.
type Use struct {
	// Role is who this is to the pod: what made it, or what it runs as.
	Role    string        `json:"role"`
	Who     authz.Subject `json:"who"`
	Allowed bool          `json:"allowed"`
	// Reason is in the API's words.
	Reason string `json:"reason,omitempty"`
}

// Name is who this is, with the groups that do not come with a ServiceAccount anyway.
func (u Use) Name() string {
	if strings.HasPrefix(u.Who.User, "system:serviceaccount:") {
		return u.Who.User
	}
	return u.Who.String()
}

// Held says whether somebody may use the class that the pod is of, and the class allows all of it.
func (e *Explanation) Held() bool {
	return len(e.Refuses) == 0 && slices.ContainsFunc(e.Uses, func(u Use) bool { return u.Allowed })
}

// Explain says of a running pod which class it is of and who may use that, by asking the API, and what contains it, by asking the
// kernel of its machine.
func Explain(ctx context.Context, c *Cluster, namespace, name string) (*Explanation, error) {
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	client, err := c.clientset(ctx)
	if err != nil {
		return nil, err
	}
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, InputError{fmt.Errorf("there is no pod %s in namespace %s: `ashlar kubectl -- get pods -A` lists them", name, namespace)}
	}
	if err != nil {
		return nil, fmt.Errorf("read pod %s/%s: %w", namespace, name, err)
	}
	e := &Explanation{Pod: namespace + "/" + name, Node: pod.Spec.NodeName}
	e.Class, e.Because = classOf(pod.Labels)
	made, err := c.maker(ctx, pod)
	if err != nil {
		return nil, err
	}
	if e.Uses, err = uses(ctx, client, e.Class, namespace, append(made, account(namespace, pod.Spec.ServiceAccountName))); err != nil {
		return nil, err
	}
	policy, err := c.livePolicy(ctx)
	if err != nil {
		return nil, err
	}
	e.Holders, e.Refuses = holders(policy, e.Class, namespace), []isolation.Violation{}
	class, known := isolation.Find(isolation.Classes(c.Spec.Spec.Isolation), e.Class)
	if known {
		e.Refuses = append(e.Refuses, class.Check(&pod.ObjectMeta, &pod.Spec)...)
	} else {
		e.Because += ", which the cluster's file knows no class by"
	}
	if len(contain.IDs(pod)) == 0 {
		return nil, fmt.Errorf("no container of pod %s runs (%s): there is nothing that a kernel could contain", e.Pod, podState(pod))
	}
	m, err := c.inside(ctx, pod)
	if err != nil {
		return nil, err
	}
	ceilings, err := c.ceilings(e.Class)
	if err != nil {
		return nil, err
	}
	e.Kernel, e.Facts = m.Kernel, contain.Compare(pod, ceilings, m)
	return e, nil
}

// podState is what there is to say of a pod that does not run.
func podState(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Waiting != nil && s.State.Waiting.Reason != "" {
			return strings.TrimSpace(s.State.Waiting.Reason + " " + s.State.Waiting.Message)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Message != "" {
			return condition.Message
		}
	}
	return string(pod.Status.Phase)
}

// inside asks the pod's machine.
func (c *Cluster) inside(ctx context.Context, pod *corev1.Pod) (contain.Machine, error) {
	var m contain.Machine
	var out, problems bytes.Buffer
	ids := slices.Sorted(maps.Values(contain.IDs(pod)))
	err := c.Provider.Exec(ctx, pod.Spec.NodeName, provider.Exec{
		Args: append([]string{unit.Bin + "/ashlar", "probe", "inside"}, ids...), Stdout: &out, Stderr: &problems})
	if err != nil {
		return m, fmt.Errorf("ask the kernel of %s: %w: %s", pod.Spec.NodeName, err, bytes.TrimSpace(problems.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return m, fmt.Errorf("ask the kernel of %s: it answered %q: %w", pod.Spec.NodeName, out.String(), err)
	}
	return m, nil
}

// uses asks the API whether each of them may use a class.
func uses(ctx context.Context, client kubernetes.Interface, class, namespace string, who []Use) ([]Use, error) {
	for i := range who {
		u := &who[i]
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: u.Who.User, Groups: u.Who.Groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: isolation.Verb, Group: isolation.Group, Resource: isolation.Resource, Name: class}}}
		got, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask the API whether %s may use class %s: %w", u.Who.User, class, err)
		}
		u.Allowed, u.Reason = got.Status.Allowed, got.Status.Reason
		if class == isolation.Restricted {
			u.Allowed, u.Reason = true, "everybody may use "+class
		}
	}
	return who, nil
}

// livePolicy is what the cluster's RBAC objects allow.
func (c *Cluster) livePolicy(ctx context.Context) (*authz.Policy, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := claim.LiveRBAC(ctx, config)
	if err != nil {
		return nil, err
	}
	return objects.Policy()
}

// account is what a pod runs as.
func account(namespace, name string) Use {
	if name == "" {
		name = "default"
	}
	return Use{Role: "its ServiceAccount", Who: authz.Subject{User: authz.ServiceAccountUser(namespace, name), Groups: accountGroups(namespace)}}
}

func accountGroups(namespace string) []string {
	return []string{"system:serviceaccounts", authz.ServiceAccountGroup(namespace), "system:authenticated"}
}
