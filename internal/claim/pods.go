package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy" //nolint:staticcheck // the one that client-go takes
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/bundle"
	"ashlar.dev/ashlar/internal/unit"
)

// Pods that probes run: the image is ashlar itself, as `ashlar probe`.

// Reached is the outcome of one connection that a pod tried.
type Reached struct {
	Address string `json:"address"`
	Refusal string `json:"refusal,omitempty"` // empty: it was greeted
	// Connected: there was a handshake, whatever was said then.
	Connected bool `json:"connected,omitempty"`
}

// probeImage is the image of the bundle.
func (t *Target) probeImage() (bundle.Image, error) {
	for _, i := range t.Bundle.Manifest.Images {
		if i.Name == "ashlar" {
			return i, nil
		}
	}
	return bundle.Image{}, errors.New("the bundle has no image of ashlar")
}

// importImage puts an image that is no part of the baseline on every worker that does not have this very one.
func (t *Target) importImage(ctx context.Context, image bundle.Image) error {
	const script = `ctr() { "$1/ctr" --namespace=k8s.io images "${@:2}"; }
ctr "$1" list "name==$2" | grep -qF "$3" || ctr "$1" import --local "$4" >/dev/null`
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range t.Desired.WithRole(v1alpha1.RoleWorker) {
		g.Go(func() error {
			_, err := run(ctx, t, m.Name, "bash", "-c", script, "bash", unit.Bin, image.Reference, image.Digest,
				path.Join(unit.ImagesDir, path.Base(image.File)))
			if err != nil {
				return fmt.Errorf("import image %s on %s: %w", image.Reference, m.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// probeAccount is the ServiceAccount of such pods. It has no token and no rights.
const probeAccount = "probe"

// probePod is a pod that runs `ashlar probe ARGS` on a node, with no more rights than the strictest standard allows.
func probePod(image, name, node string, labels map[string]string, args ...string) *corev1.Pod {
	no, yes, nobody, none := false, true, int64(65534), int64(0)
	requests := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("128Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: probeAccount, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &none,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "probe", Image: image, ImagePullPolicy: corev1.PullNever, Args: append([]string{"probe"}, args...),
				Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// started waits until a pod runs and has an address.
func started(ctx context.Context, c kubernetes.Interface, namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w, err := c.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return nil, fmt.Errorf("watch pod %s/%s: %w", namespace, name, err)
	}
	defer w.Stop()
	last := "nothing was heard of it"
	for event := range w.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		switch {
		case event.Type == watch.Deleted || !ok:
			return nil, fmt.Errorf("pod %s/%s went away while it started", namespace, name)
		case pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "":
			return pod, nil
		case pod.Status.Phase == corev1.PodFailed:
			return nil, fmt.Errorf("pod %s/%s failed: %s", namespace, name, pod.Status.Message)
		}
		last = whyNot(pod)
	}
	return nil, fmt.Errorf("pod %s/%s did not start: %s", namespace, name, last)
}

// whyNot is what the kubelet says of a pod that does not run yet.
func whyNot(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Waiting != nil {
			return strings.TrimSpace(s.State.Waiting.Reason + " " + s.State.Waiting.Message)
		}
	}
	return string(pod.Status.Phase)
}

// connectFrom has a pod try to connect to all addresses at once.
func (t *Target) connectFrom(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, addresses []string) ([]Reached, error) {
	// A busy containerd may lose what a command says that ends quickly: nothing was observed then.
	for range 5 {
		var out, problems bytes.Buffer
		err := execIn(ctx, t.Admin, c, pod, append([]string{"/ashlar", "probe", "connect"}, addresses...), &out, &problems)
		if err != nil {
			return nil, fmt.Errorf("connect from pod %s/%s: %w: %s", pod.Namespace, pod.Name, err, strings.TrimSpace(problems.String()))
		}
		if out.Len() == 0 {
			continue
		}
		var reached []Reached
		if err := json.Unmarshal(out.Bytes(), &reached); err != nil || len(reached) != len(addresses) {
			return nil, fmt.Errorf("pod %s/%s answered %q", pod.Namespace, pod.Name, out.String())
		}
		return reached, nil
	}
	return nil, fmt.Errorf("pod %s/%s answered nothing, again and again", pod.Namespace, pod.Name)
}

// execIn runs a command in a pod's container, through the API. Of client-go's ways to do so only SPDY can be told how
// to reach the API.
func execIn(ctx context.Context, config *rest.Config, c kubernetes.Interface, pod *corev1.Pod, command []string, stdout, stderr *bytes.Buffer) error {
	url := c.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: pod.Spec.Containers[0].Name, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return err
	}
	upgrade, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{
		UpgradeTransport: &http.Transport{DialContext: config.Dial, TLSClientConfig: tls}})
	if err != nil {
		return err
	}
	e, err := remotecommand.NewSPDYExecutorForTransports(upgrade, upgrade, http.MethodPost, url)
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
}
