package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/escape"
	podclass "ashlar.dev/ashlar/internal/isolation"
)

var procSeccomp = Claim{
	ID:    "proc-seccomp",
	Says:  "Docker isolates the containers by preventing a specific list of System calls",
	Holds: "each pod that does not declare otherwise has the runtime's filter of system calls, no way out that is known, no user of the machine's, and no token",
	Probe: probeSeccomp,
}

// Inside is what `ashlar probe escape` finds in a container.
type Inside struct {
	Escapes []escape.Tried `json:"escapes"`
	// Status is the process' own, and Users how its users are numbered outside: the first three numbers of its uid_map.
	Status string `json:"status"`
	Users  string `json:"users"`
	// Tokens are the files of a ServiceAccount's token.
	Tokens []string `json:"tokens,omitempty"`
}

// OwnUsers says whether root in the container is nobody's on the machine.
func (i Inside) OwnUsers() bool {
	first := strings.Fields(i.Users)
	return len(first) == 3 && first[1] != "0"
}

// Field is one of the process' status.
func (i Inside) Field(name string) string {
	for line := range strings.Lines(i.Status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// probeSeccomp tries to get out of two pods on every worker: one that says all that the strictest standard wants, and one that
// says nothing; and has the API take a pod without a filter.
func probeSeccomp(ctx context.Context, t *Target) ([]Evidence, error) {
	s, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	namespace, remove, err := s.namespace(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	if err := grant(ctx, s.client, namespace, podclass.Baseline); err != nil {
		return nil, err
	}
	evidence, err := s.unfiltered(ctx, namespace)
	if err != nil {
		return nil, err
	}
	workers := s.Desired.WithRole(v1alpha1.RoleWorker)
	found := make([][]Evidence, 3*len(workers))
	g, tries := errgroup.WithContext(ctx)
	for i, w := range workers {
		for j, pod := range []*corev1.Pod{saysAll(s.image, w.Name), saysNothing(s.image, w.Name)} {
			g.Go(func() error {
				inside, err := s.inside(tries, namespace, pod)
				if err == nil {
					found[3*i+j] = s.contained(inside, pod)
				}
				return err
			})
		}
		g.Go(func() (err error) {
			found[3*i+2], err = s.throughLink(tries, namespace, w.Name)
			return err
		})
	}
	err = g.Wait()
	return slices.Concat(append([][]Evidence{evidence}, found...)...), err
}

// saysAll is a pod of the strictest standard, saysNothing one of the class that asks for nothing to be said. Neither speaks of
// its users or of a token.
func saysAll(image, node string) *corev1.Pod {
	pod := probePod(image, "all-"+node, node, nil, "serve", fmt.Sprintf(":%d", isolationPort))
	pod.Spec.AutomountServiceAccountToken = nil
	return pod
}

func saysNothing(image, node string) *corev1.Pod {
	pod := probePod(image, "nothing-"+node, node, map[string]string{podclass.LabelClass: podclass.Baseline}, "serve", fmt.Sprintf(":%d", isolationPort))
	pod.Spec.AutomountServiceAccountToken = nil
	pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext = nil, nil
	return pod
}

// inside starts a pod and tries to get out of it.
func (s *isolation) inside(ctx context.Context, namespace string, pod *corev1.Pod) (Inside, error) {
	var inside Inside
	if _, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return inside, fmt.Errorf("make pod %s/%s: %w", namespace, pod.Name, err)
	}
	running, err := started(ctx, s.client, namespace, pod.Name)
	if err != nil {
		return inside, err
	}
	return escapesFrom(ctx, s.Target, s.client, running)
}

func escapesFrom(ctx context.Context, t *Target, c kubernetes.Interface, pod *corev1.Pod) (Inside, error) {
	var inside Inside
	for range 5 { // as connectFrom: what ends quickly may be lost
		var out, problems bytes.Buffer
		if err := execIn(ctx, t.Admin, c, pod, []string{"/ashlar", "probe", "escape"}, &out, &problems); err != nil {
			return inside, fmt.Errorf("try to escape from pod %s/%s: %w: %s", pod.Namespace, pod.Name, err, strings.TrimSpace(problems.String()))
		}
		if out.Len() == 0 {
			continue
		}
		if err := json.Unmarshal(out.Bytes(), &inside); err != nil {
			return inside, fmt.Errorf("pod %s/%s answered %q", pod.Namespace, pod.Name, out.String())
		}
		return inside, nil
	}
	return inside, fmt.Errorf("pod %s/%s answered nothing, again and again", pod.Namespace, pod.Name)
}

// unfiltered asks for pods without a filter, of the classes that may not be.
func (s *isolation) unfiltered(ctx context.Context, namespace string) ([]Evidence, error) {
	var out []Evidence
	for _, class := range []string{podclass.Restricted, podclass.Baseline} {
		pod := saysAll(s.image, "")
		pod.Name, pod.Labels = "unfiltered", map[string]string{podclass.LabelClass: class}
		pod.Spec.SecurityContext.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined
		_, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("ask for a pod without a filter of system calls: %w", err)
		}
		out = append(out, attempt("make a pod without a filter of system calls, of class "+class, "operator", "administrator", Refused, err))
	}
	return out, nil
}

// throughLink has a pod leave a symbolic link to the machine's files in a volume, and another container of it mount what is
// behind it.
func (s *isolation) throughLink(ctx context.Context, namespace, node string) ([]Evidence, error) {
	pod := probePod(s.image, "link-"+node, node, nil, "serve", fmt.Sprintf(":%d", isolationPort))
	pod.Spec.Volumes = []corev1.Volume{{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	link := pod.Spec.Containers[0].DeepCopy()
	link.Name, link.Args = "link", []string{"probe", "link", "/etc", "/shared/out"}
	link.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	pod.Spec.InitContainers = []corev1.Container{*link}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/out", SubPath: "out"}}
	if _, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("make pod %s/%s: %w", namespace, pod.Name, err)
	}
	w, err := s.client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String()})
	if err != nil {
		return nil, fmt.Errorf("watch pod %s/%s: %w", namespace, pod.Name, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		now, ok := event.Object.(*corev1.Pod)
		if !ok || event.Type == watch.Deleted {
			break
		}
		var answer error
		for _, c := range now.Status.ContainerStatuses {
			if c.State.Waiting != nil && c.State.Waiting.Reason == "CreateContainerConfigError" {
				answer = errors.New(c.State.Waiting.Message)
			}
		}
		if answer != nil || now.Status.Phase != corev1.PodPending {
			return []Evidence{attempt("mount the machine's /etc by a symbolic link in a volume (subPath)", node, "a restricted pod", Refused, answer)}, nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s was neither refused nor started", namespace, pod.Name)
}

// usersOfPods says whether the cluster gives pods users of their own.
func (t *Target) usersOfPods() bool {
	for _, o := range t.Baseline {
		if o.GetName() == "ashlar-pod-users" {
			return true
		}
	}
	return false
}

// contained is what came of the attempts in one pod.
func (s *isolation) contained(in Inside, pod *corev1.Pod) []Evidence {
	what := map[bool]string{true: "a pod that says nothing", false: "a restricted pod"}[pod.Spec.SecurityContext == nil]
	var out []Evidence
	add := func(attempt string, err error, answer string) {
		e := Evidence{Attempt: attempt, From: pod.Spec.NodeName, As: what, Want: Refused, Got: Refused, Answer: answer}
		if err == nil {
			e.Got = Allowed
		}
		out = append(out, e)
	}
	is := func(attempt string, held bool, answer string) {
		if held {
			add(attempt, errors.New(answer), answer)
		} else {
			add(attempt, nil, answer)
		}
	}
	for _, t := range in.Escapes {
		is(t.Attempt, !t.Allowed, t.Answer)
	}
	is("call the kernel without a filter", in.Field("Seccomp") == "2", "/proc/self/status has Seccomp: "+in.Field("Seccomp"))
	is("gain privileges by a program's set-user-ID bit", in.Field("NoNewPrivs") == "1", "/proc/self/status has NoNewPrivs: "+in.Field("NoNewPrivs"))
	is("find a token of its ServiceAccount", len(in.Tokens) == 0, fmt.Sprintf("%d files are mounted", len(in.Tokens)))
	if s.usersOfPods() {
		is("be a user of the machine", in.OwnUsers(), "its users are, from inside, from outside, how many: "+in.Users)
	}
	return out
}
