package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/shortcut"
	"ashlar.dev/ashlar/internal/unit"
)

// shortcutPod measures, or is measured.
const shortcutPod = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: shortcut}
spec:
  nodeName: %[2]s
  automountServiceAccountToken: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[3]s
    imagePullPolicy: Never
    args: %[4]s
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
---
`

// TestShortcut has pods talk on one worker and across: their packets take the shortcut. It is killed again and again
// meanwhile, and no connection notices.
func TestShortcut(t *testing.T) {
	image := importImage(t, "ashlar")
	declared(t, "  network: {policy: {open: [{namespace: shortcut}]}}\n")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "shortcut", "--wait=false", "--ignore-not-found") })
	apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: shortcut, labels: {pod-security.kubernetes.io/enforce: restricted}}}`)
	kubectl(t, "wait", "serviceaccount/default", "--namespace=shortcut", "--for=create", "--timeout=30s")
	workers := []string{"worker-0", "worker-1"}
	manifest := ""
	for _, w := range workers {
		manifest += fmt.Sprintf(shortcutPod, "to-"+w, w, image, `[probe, sink, "0.0.0.0:8081"]`)
	}
	apply(t, manifest)
	kubectl(t, "wait", "pods", "--all", "--namespace=shortcut", "--for=condition=Ready", "--timeout=60s")
	manifest = ""
	before := map[string]shortcut.Status{}
	for _, w := range workers {
		before[w] = shortcutOf(t, w)
		if why := before[w].Unable; why != "" {
			t.Skipf("%s: %s", w, why)
		}
		at := kubectl(t, "get", "pod/to-"+w, "--namespace=shortcut", "-o", "jsonpath={.status.podIP}")
		manifest += fmt.Sprintf(shortcutPod, "from-"+w, "worker-0", image, fmt.Sprintf(`[probe, speed, "%s:8081", "--for=15s"]`, at))
	}
	apply(t, manifest)
	eventually(t, 30*time.Second, func() error {
		for _, w := range workers {
			if now := shortcutOf(t, w); now.Packets["taken"] < before[w].Packets["taken"]+1000 {
				return fmt.Errorf("%s: before %v, now %v", w, before[w], now)
			}
		}
		return nil
	})
	killed := 0
	for {
		phases := kubectl(t, "get", "pods/from-worker-0", "pods/from-worker-1", "--namespace=shortcut", "-o", "jsonpath={.items[*].status.phase}")
		if !strings.Contains(phases, "Running") && !strings.Contains(phases, "Pending") {
			break
		}
		for _, w := range workers {
			// The agent starts it again. One that is not there has just been killed.
			if _, code := try("-f", file, "exec", w, "--", "pkill", "--signal=KILL", "--full", "^"+unit.Bin+"/ashlar shortcut"); code == 0 {
				killed++
			}
		}
	}
	for _, w := range workers {
		if out := kubectl(t, "get", "pod/from-"+w, "--namespace=shortcut", "-o", "jsonpath={.status.phase}"); out != "Succeeded" {
			t.Errorf("to %s: %s: %s", w, out, kubectl(t, "logs", "from-"+w, "--namespace=shortcut"))
		}
	}
	if killed < 2 {
		t.Errorf("it was killed %d times", killed)
	}
	t.Logf("killed %d times", killed)
	eventually(t, time.Minute, func() error { // which waits longer before each start
		for _, m := range status(t, file) {
			for _, u := range m.Status.Units {
				if u.Name == "shortcut" && u.State != agent.UnitReady {
					return fmt.Errorf("the shortcut of %s is %s: %s", m.Name, u.State, u.Reason)
				}
			}
		}
		return nil
	})
}

// shortcutOf asks the shortcut of a worker.
func shortcutOf(t *testing.T, worker string) (s shortcut.Status) {
	t.Helper()
	out := ashlar(t, "exec", worker, "--", unit.Bin+"/ashlar", "shortcut", "--status")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("the shortcut of %s says %q: %v", worker, out, err)
	}
	return s
}
