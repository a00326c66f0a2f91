package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/share"
)

// hogPod runs ashlar's probe with some arguments, on a node. Resources are as given; nothing: none are named.
const hogPod = `
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  nodeName: %[3]s
  restartPolicy: Always
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65534, runAsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[4]s
    imagePullPolicy: Never
    args: [probe, %[5]s]
    resources: {%[6]s}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`

// bearable is what part of its throughput a hog's neighbour must keep, and how many times as long its slowest pieces may take.
// `make test-slow` is for a host without other work, and asks for what is promised. Of one that others share, what is slowest says
// more of the others.
func bearable() (kept, times float64) {
	if slow {
		return 0.9, 2
	}
	return 0.6, math.Inf(1)
}

// TestHogs: pods without declared limits take all they can of processes, memory and CPUs. Their neighbours on the same node keep at least
// 90 % of their throughput, and their slowest pieces of work take at most twice as long; the node stays Ready.
func TestHogs(t *testing.T) {
	const ns, node = "busy", "worker-0"
	least, most, window := 2, 4, 3*time.Second
	if slow {
		least, most = 5, 7
	}
	kept, times := bearable()
	image := importImage(t, "ashlar")
	target := target(t)
	client, err := kubernetes.NewForConfig(target.Admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns))
	kubectl(t, "wait", "--for=create", "limitrange/ashlar-tier", "--namespace="+ns, "--timeout=20s")
	const all = `{cpu: 300m, memory: 64Mi, ephemeral-storage: 64Mi}`
	pods := map[string]*corev1.Pod{}
	for name, resources := range map[string]string{"guaranteed": "requests: " + all + ", limits: " + all, "burstable": "requests: {cpu: 300m, memory: 32Mi}, limits: {cpu: 300m}"} {
		apply(t, fmt.Sprintf(hogPod, ns, name, node, image, `serve, ":8080"`, resources))
	}
	kubectl(t, "wait", "--for=condition=Ready", "pod/guaranteed", "pod/burstable", "--namespace="+ns, "--timeout=60s")
	for _, name := range []string{"guaranteed", "burstable"} {
		pod, err := client.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.EqualFold(string(pod.Status.QOSClass), name) {
			t.Errorf("%s is %s", name, pod.Status.QOSClass)
		}
		pods[name] = pod
	}
	ready := readySince(t, client, node)
	pace := func(pod *corev1.Pod, every time.Duration) share.Pace {
		t.Helper()
		p, err := claim.Pace(t.Context(), target, client, pod, every, window)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, hog := range []string{"fork", "memory", "cpu"} {
		t.Run(hog, func(t *testing.T) {
			// Work that is due now and then is measured by its lateness, and work without end by how much is done. Quiet and beside the
			// hog take turns, and their medians are compared; more often where others work on this host, too, whose doings have no turns.
			var quiet, beside [2][]share.Pace
			measure := func(into *[2][]share.Pace) {
				into[0] = append(into[0], pace(pods["guaranteed"], 20*time.Millisecond))
				into[1] = append(into[1], pace(pods["burstable"], 0))
			}
			var steady, busy, late float64
			for round := 0; round < least || round < most && (steady < kept || busy < kept || late > times); round++ {
				measure(&quiet)
				apply(t, fmt.Sprintf(hogPod, ns, "hog", node, image, "hog, "+hog, ""))
				eventually(t, 60*time.Second, func() error { return hogs(t, ns, hog) })
				measure(&beside)
				kubectl(t, "delete", "pod", "hog", "--namespace="+ns, "--grace-period=0", "--force")
				eventually(t, 60*time.Second, func() error {
					if out := ashlar(t, "exec", node, "--", "bash", "-c", "pgrep -fc '^/ashlar probe hog' || true"); strings.TrimSpace(out) != "0" {
						return fmt.Errorf("%s processes of the hog are left", strings.TrimSpace(out))
					}
					return nil
				})
				steady, late = share.Kept(quiet[0], beside[0])
				busy, _ = share.Kept(quiet[1], beside[1])
			}
			t.Logf("beside a %s hog, %d times: %.1f %% of the work that is due, %.1f %% of the work without end, p99 %.2f times as long\nquiet %+v\nbeside %+v",
				hog, len(quiet[0]), 100*steady, 100*busy, late, quiet, beside)
			if steady < kept || busy < kept || late > times {
				t.Errorf("a %s hog leaves its neighbours %.1f %% and %.1f %% of their throughput, and %.2f times their p99", hog, 100*steady, 100*busy, late)
			}
			if now := readySince(t, client, node); !now.Equal(&ready) {
				t.Errorf("%s was not Ready all the time: it is since %s, and was since %s", node, now, ready)
			}
		})
	}
}

// hogs says whether a hog has come as far as it can.
func hogs(t *testing.T, ns, hog string) error {
	t.Helper()
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(kubectl(t, "get", "pod", "hog", "--namespace="+ns, "-o", "json")), &pod); err != nil {
		return err
	}
	if hog == "memory" { // it is killed, and begins anew, again and again
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Terminated != nil || s.LastTerminationState.Terminated != nil {
				return nil
			}
		}
		return fmt.Errorf("it was never killed: %+v", pod.Status.ContainerStatuses)
	}
	if pod.Status.Phase != corev1.PodRunning {
		return fmt.Errorf("it is %s", pod.Status.Phase)
	}
	if hog == "fork" {
		out := ashlar(t, "exec", pod.Spec.NodeName, "--", "bash", "-c", "pgrep -fc '^/ashlar probe hog' || true")
		if out = strings.TrimSpace(out); len(out) < 3 {
			return fmt.Errorf("it is %s processes", out)
		}
		t.Logf("the fork bomb is %s processes", out)
	}
	return nil
}

// readySince is since when a node is Ready; the test ends if it is not.
func readySince(t *testing.T, client kubernetes.Interface, node string) metav1.Time {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime
		}
	}
	t.Fatalf("%s is not Ready: %+v", node, n.Status.Conditions)
	return metav1.Time{}
}
