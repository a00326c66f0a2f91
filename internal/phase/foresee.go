package phase

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
)

// Foresight is what would become of a pod that is not there yet.
type Foresight struct {
	// Object is what it is written as: "Deployment shop/web".
	Object  string `json:"object"`
	Class   string `json:"class"`
	Because string `json:"because"`
	Uses    []Use  `json:"uses"`
	// Accepted is whether the API would take it, Answer its words if not.
	Accepted bool   `json:"accepted"`
	Answer   string `json:"answer,omitempty"`
	// Options are all classes, as that pod would fare in each.
	Options []Option `json:"options"`
}

// Foresee asks the API, without making anything, whether it would take pods, and why not: as somebody, or as whoever would make
// them: Kubernetes' controllers for what they make, and for others the operator.
func Foresee(ctx context.Context, c *Cluster, namespace string, as authz.Subject, planned []contain.Planned) ([]Foresight, error) {
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	policy, err := c.livePolicy(ctx)
	if err != nil {
		return nil, err
	}
	out := []Foresight{}
	for _, p := range planned {
		pod := p.Pod
		if pod.Namespace == "" {
			pod.Namespace = namespace
		}
		f := Foresight{Object: p.Kind + " " + pod.Namespace + "/" + p.Name}
		f.Class, f.Because = classOf(pod.Labels)
		who := Use{Role: "who would make it", Who: as}
		switch {
		case as.User != "":
		case p.Maker != "":
			who = Use{Role: "what would make it", Who: controllerSubject(p.Maker)}
		default:
			who.Who = operatorSubject
		}
		if f.Accepted, f.Answer, err = tryPod(ctx, config, who.Who, pod); err != nil {
			return nil, err
		}
		if f.Uses, err = uses(ctx, client, f.Class, pod.Namespace, []Use{who, account(pod.Namespace, pod.Spec.ServiceAccountName)}); err != nil {
			return nil, err
		}
		f.Options = optionsFor(policy, isolation.Classes(c.Spec.Spec.Isolation), pod)
		out = append(out, f)
	}
	return out, nil
}

// operatorSubject is who the operator is to the API.
var operatorSubject = authz.Subject{User: adminProfile().CommonName, Groups: append([]string{"system:authenticated"}, adminProfile().Organizations...)}

// tryPod has the API do all that it does with a new pod, but for keeping it.
func tryPod(ctx context.Context, config *rest.Config, as authz.Subject, pod *corev1.Pod) (accepted bool, answer string, err error) {
	config = rest.CopyConfig(config)
	if as.User != operatorSubject.User {
		config.Impersonate = rest.ImpersonationConfig{UserName: as.User, Groups: as.Groups}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false, "", err
	}
	pod = pod.DeepCopy()
	// One of that name may be there already; that is not what is asked.
	if pod.Name != "" {
		pod.GenerateName, pod.Name = pod.Name+"-", ""
	}
	if _, err = client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
		return true, "", nil
	}
	if declined(err) {
		return false, strings.TrimPrefix(err.Error(), "pods \""+pod.GenerateName+"\" is forbidden: "), nil
	}
	return false, "", fmt.Errorf("ask the API whether it would take %s/%s: %w", pod.Namespace, pod.GenerateName, err)
}

// declined: the API said what it has against it.
func declined(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err)
}
