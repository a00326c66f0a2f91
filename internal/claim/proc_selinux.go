package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/unit"
)

var procSELinux = Claim{
	ID: "proc-selinux",
	Says: "the Toolkit also enables SELinux by default … Kubernetes uses unique Multi-Category Security (MCS) labels per Pod to separate " +
		"the containers of different",
	Holds: "where a worker's kernel has SELinux it enforces: each pod is confined with a pair of categories of its own, only what is declared " +
		"privileged is not, and reading what is a neighbour's is refused and logged",
	Probe: probeSELinux,
}

// Read is the outcome of reading one file in a pod.
type Read struct {
	Path    string `json:"path"`
	Words   string `json:"words,omitempty"`   // its first
	Refusal string `json:"refusal,omitempty"` // empty: it was read
}

func probeSELinux(ctx context.Context, t *Target) (found []Evidence, err error) {
	var s *isolation
	for _, w := range t.Desired.WithRole(v1alpha1.RoleWorker) {
		r, err := t.selinux(ctx, w.Name)
		if err != nil {
			return found, err
		}
		if e, none := withoutSELinux(t.Spec, w.Name, r.State); none {
			found = append(found, e)
			continue
		}
		if s == nil {
			if s, err = isolate(ctx, t); err != nil {
				return found, err
			}
		}
		more, err := s.crossRead(ctx, w.Name)
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// withoutSELinux is the evidence of a worker whose kernel has none, if it may have none: a machine of this host has the host's.
func withoutSELinux(c *v1alpha1.Cluster, worker string, s selinux.State) (Evidence, bool) {
	e := Evidence{Attempt: "enforce SELinux", From: worker, As: "the kernel", Want: Allowed, Got: Allowed, Answer: "it is " + string(s.Mode)}
	if s.Mode != selinux.Absent {
		return e, false
	}
	e.Got, e.Answer = Refused, s.Follows()
	if c.Spec.Provider.Local != nil {
		e.Want, e.Kind, e.Notice = Refused, Impossible, true
	}
	return e, true
}

// selinux is what a machine says of it.
func (t *Target) selinux(ctx context.Context, machine string) (r selinux.Report, err error) {
	out, err := run(ctx, t, machine, unit.Bin+"/ashlar", "probe", "selinux")
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		return r, fmt.Errorf("look at SELinux on %s: %w", machine, err)
	}
	return r, nil
}

// sharedDir is where two pods of an attack find each other's files. Its label lets both in.
const sharedDir = "/var/lib/kubelet/ashlar-verify"

// crossRead has two pods of a worker keep a file in one directory, where their modes let each read the other's.
func (s *isolation) crossRead(ctx context.Context, worker string) (found []Evidence, err error) {
	const script = `rm -rf "$1" && mkdir -m 1777 "$1" && chcon system_u:object_r:container_file_t:s0 "$1"`
	if _, err := run(ctx, s.Target, worker, "bash", "-c", script, "bash", sharedDir); err != nil {
		return nil, fmt.Errorf("make a directory for two pods on %s: %w", worker, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, e := run(ctx, s.Target, worker, "rm", "-rf", sharedDir)
		err = errors.Join(err, e)
	}()
	namespace, remove, err := s.namespace(ctx, everywhere(networkingv1.PolicyTypeEgress))
	if err != nil {
		return nil, err
	}
	defer remove()
	// Only there may a pod mount what is the machine's.
	if err := s.label(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}); err != nil {
		return nil, err
	}
	holder := func(name string) wanted {
		return wanted{name: name, node: worker, labels: map[string]string{"ashlar.dev/class": "privileged"}, change: func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "shared", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: sharedDir}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
			p.Spec.Containers[0].Args = []string{"probe", "hold", "/shared/" + name, name}
		}}
	}
	pods, err := s.pods(ctx, namespace, []wanted{holder("a"), holder("b")})
	if err != nil {
		return nil, err
	}
	own, err := s.readIn(ctx, pods[0], "/shared/a")
	if err != nil {
		return nil, err
	}
	neighbours, err := s.readIn(ctx, pods[1], "/shared/a")
	if err != nil {
		return nil, err
	}
	r, err := s.selinux(ctx, worker)
	if err != nil {
		return nil, err
	}
	declared, err := s.containers(ctx, worker)
	if err != nil {
		return nil, err
	}
	found = append(found, attempt("read a file of its own", worker, "pod a", Allowed, own), attempt("read a neighbour's file", worker, "pod b", Refused, neighbours),
		denialLogged(r, declared, worker, namespace))
	for _, f := range selinux.Judge(r, declared) {
		e := Evidence{Attempt: f.What, From: worker, As: "the kernel", Want: Refused, Got: Refused, Answer: f.Answer}
		if !f.Held {
			e.Got = Allowed
		}
		found = append(found, e)
	}
	return found, nil
}

// readIn has a pod read a file; the error of what refused it is the first, that of not having been able to try the second.
func (s *isolation) readIn(ctx context.Context, pod *corev1.Pod, path string) (refusal, err error) {
	var out, problems bytes.Buffer
	if err := execIn(ctx, s.Admin, s.client, pod, []string{"/ashlar", "probe", "read", path}, &out, &problems); err != nil {
		return nil, fmt.Errorf("read in pod %s/%s: %w: %s", pod.Namespace, pod.Name, err, strings.TrimSpace(problems.String()))
	}
	var all []Read
	if err := json.Unmarshal(out.Bytes(), &all); err != nil || len(all) != 1 {
		return nil, fmt.Errorf("pod %s/%s answered %q", pod.Namespace, pod.Name, out.String())
	}
	if all[0].Refusal != "" {
		return errors.New(all[0].Refusal), nil
	}
	return nil, nil
}

// containers are those that the API knows of a node, by their ids.
func (s *isolation) containers(ctx context.Context, node string) (map[string]selinux.Container, error) {
	pods, err := s.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", node, err)
	}
	out := map[string]selinux.Container{}
	for _, pod := range pods.Items {
		for id, c := range declaredContainers(pod) {
			out[id] = c
		}
	}
	return out, nil
}

func declaredContainers(pod corev1.Pod) map[string]selinux.Container {
	asks := map[string]selinux.Container{}
	of := func(c corev1.Container) {
		one := selinux.Container{Pod: pod.Namespace + "/" + pod.Name, Name: c.Name}
		if p := pod.Spec.SecurityContext; p != nil && p.SELinuxOptions != nil {
			one.Level, one.Privileged = p.SELinuxOptions.Level, p.SELinuxOptions.Type == selinux.Unconfined
		}
		if p := c.SecurityContext; p != nil {
			if p.SELinuxOptions != nil {
				one.Level, one.Privileged = p.SELinuxOptions.Level, p.SELinuxOptions.Type == selinux.Unconfined
			}
			one.Privileged = one.Privileged || p.Privileged != nil && *p.Privileged
		}
		asks[c.Name] = one
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		of(c)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		of(corev1.Container(c.EphemeralContainerCommon))
	}
	out := map[string]selinux.Container{}
	for _, st := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if _, id, ok := strings.Cut(st.ContainerID, "://"); ok {
			out[id] = asks[st.Name]
		}
	}
	return out
}

// denialLogged looks for what was refused to b in the machine's log.
func denialLogged(r selinux.Report, declared map[string]selinux.Container, worker, namespace string) Evidence {
	e := Evidence{Attempt: "find the denial in the machine's log", From: worker, As: "the operator", Want: Allowed, Got: Refused, Answer: "it is not there"}
	contexts := map[string]selinux.Context{}
	for _, p := range r.Processes {
		contexts[declared[p.Container].Pod] = p.Context
	}
	a, b := contexts[namespace+"/a"], contexts[namespace+"/b"]
	file := selinux.Context{Type: "container_file_t", Level: a.Level}
	for _, d := range r.Denials {
		if d.Explains(b, file, "read") || d.Explains(b, file, "getattr") {
			e.Got, e.Answer = Allowed, fmt.Sprintf("%s was denied %s of %s, of %s", d.Source, strings.Join(d.Permissions, " "), d.Name, d.Target)
		}
	}
	return e
}
