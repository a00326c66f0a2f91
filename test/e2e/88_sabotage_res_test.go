package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"res-qos", "a namespace's LimitRange is removed while the baseline controller stands still", unlimited("limitrange/ashlar-tier")},
		sabotage{"res-qos", "a namespace's ResourceQuota is removed while the baseline controller stands still", unlimited("resourcequota/ashlar-tier")},
		sabotage{"res-qos", "the system's priority is anybody's while the baseline controller stands still", unlimited("resourcequota/ashlar-priority")},
		sabotage{"res-qos", "the baseline controller stands still", frozen("control-plane-0", "baseline-controller")},
		sabotage{"res-qos", "the memory of a container is more than its pod says", lifted("status.containerStatuses[0].containerID", "memory.memsw.limit_in_bytes memory.limit_in_bytes memory.max", "1073741824")},
		sabotage{"res-qos", "a pod may have any number of processes", lifted("metadata.uid", "pids.max", "max")},
		sabotage{"res-qos", "nothing is kept for the machine itself", unreserved("worker-0")},
	)
}

// unlimited removes an object of namespace default that nobody puts back.
func unlimited(object string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		frozen("control-plane-0", "baseline-controller")(t, target)
		kubectl(t, "delete", object, "--namespace=default")
	}
}

// lifted writes a value into the cgroups of a pod of DNS, with what bounds it: by id, of the container or of the pod.
func lifted(id, files, value string) func(*testing.T, *claim.Target) {
	// What it prints puts back what was there, last first: who is within another is raised after it, and lowered before.
	const script = `for d in $(find /sys/fs/cgroup -type d -name "*$1*"); do for f in $2; do for g in "$(dirname "$d")/$f" "$d/$f"; do
		[ -e "$g" ] && { echo "echo $(cat "$g") > $g"; echo "$3" > "$g"; }; done; done; done | tac; true`
	return func(t *testing.T, _ *claim.Target) {
		pod := strings.Fields(kubectl(t, "get", "pods", "--namespace=kube-system", "-l", "k8s-app=kube-dns", "-o=jsonpath={.items[0].spec.nodeName} {.items[0]."+id+"}"))
		back := ashlar(t, "exec", pod[0], "--", "bash", "-c", script, "bash", strings.TrimPrefix(pod[1], "containerd://"), files, value)
		if strings.TrimSpace(back) == "" {
			t.Fatalf("%s has no cgroup of %s with any of %s", pod[0], pod[1], files)
		}
		t.Cleanup(func() { ashlar(t, "exec", pod[0], "--", "bash", "-c", back) })
	}
}

// unreserved has a kubelet start with nothing kept from pods.
func unreserved(machine string) func(*testing.T, *claim.Target) {
	const empty = `printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\npodPidsLimit: 1024\nevictionHard: {memory.available: 1Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}\n' > /run/ashlar/kubelet.d/10-reserve.conf`
	return func(t *testing.T, _ *claim.Target) {
		restart := func(first string) {
			pid := unitsOf(t, machine)["kubelet"]
			ashlar(t, "exec", machine, "--", "bash", "-c", first)
			ashlar(t, "exec", machine, "--", "kill", fmt.Sprint(pid))
			eventually(t, time.Minute, func() error {
				if now := unitsOf(t, machine)["kubelet"]; now == 0 || now == pid {
					return fmt.Errorf("the kubelet has not been started again")
				}
				return nil
			})
			kubectl(t, "wait", "--for=condition=Ready", "node/"+machine, "--timeout=60s")
		}
		t.Cleanup(func() {
			restart("/opt/ashlar/bundle/bin/ashlar reserve")
			ashlar(t, "up")
		})
		restart(empty)
	}
}
