package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/phase"
)

// explained is a pod that says a lot: the kernel does all of it, until somebody undoes it behind Kubernetes' back.
const explained = `
apiVersion: v1
kind: Pod
metadata: {name: strict, namespace: %[1]s}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: %[2]s
    args: [netexec, --http-port=8080]
    ports: [{containerPort: 8080}]
    resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 250m, memory: 64Mi}}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
`

// explain asks for an explanation as JSON, and returns it with the exit code.
func explain(t *testing.T, args ...string) (phase.Explanation, int) {
	t.Helper()
	out, code := try(append([]string{"-f", file, "-o", "json", "isolation", "explain"}, args...)...)
	var e phase.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("explain %v: exit %d, not JSON: %v\n%s", args, code, err, out)
	}
	return e, code
}

// TestExplain: what contains a pod is read from its machine's kernel, and what somebody undoes there is named.
func TestExplain(t *testing.T) {
	const ns = "explain"
	image := importImage(t, "agnhost")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns))
	kubectl(t, "wait", "serviceaccount/default", "--namespace="+ns, "--for=create", "--timeout=30s")
	apply(t, fmt.Sprintf(explained, ns, image))
	kubectl(t, "wait", "pod/strict", "--namespace="+ns, "--for=condition=Ready", "--timeout=60s")

	e, code := explain(t, "strict", "-n", ns)
	if code != 0 || len(contain.Differing(e.Facts)) != 0 || e.Class != isolation.Restricted {
		t.Fatalf("exit %d, class %s, differing: %+v", code, e.Class, contain.Differing(e.Facts))
	}
	if len(e.Uses) != 2 || e.Uses[0].Who.User != "admin" || !strings.HasSuffix(e.Uses[1].Who.User, ":default") {
		t.Errorf("the audit log says who made it, but not %+v", e.Uses)
	}
	for what, kernel := range map[string]string{
		"user": "1000:1000", "system calls": "filter", "privileges": "never grow", "capabilities": "none", "/": "read-only", "/proc, /sys": "masked",
		"namespaces": "its own", "class of service": "Burstable", "cpu": "250m", "memory": "64Mi",
		"disk, read": "100Mi", "disk, writes": "2000", "listens": "8080/TCP",
	} {
		f := factOf(e, what)
		if !strings.HasPrefix(f.Kernel, kernel) {
			t.Errorf("%s: the kernel does %q, not %q", what, f.Kernel, kernel)
		}
	}

	pid := pidOf(t, e.Node, ns, "strict")
	memory := strings.TrimSpace(ashlar(t, "exec", e.Node, "--", "sh", "-c", `
if [ -d /sys/fs/cgroup/memory ]; then echo /sys/fs/cgroup/memory$(grep memory /proc/$1/cgroup | cut -d: -f3); else echo /sys/fs/cgroup$(cut -d: -f3 /proc/$1/cgroup); fi`, "sh", pid))
	for _, s := range []struct{ name, what, does, undoes string }{
		{"a limit of memory is lifted", "memory", lift("echo max > memory.max", "[ ! -f $w ] || echo -1 > $w; echo -1 > $m"),
			lift("echo 67108864 > memory.max", "echo 67108864 > $m; [ ! -f $w ] || echo 67108864 > $w")},
		{"its root becomes writable", "/", remount("/", false), remount("/", true)},
		{"the kernel's settings become writable", "/proc, /sys", remount("/proc/sys", false), remount("/proc/sys", true)},
		{"something is mounted in it", "/etc", fmt.Sprintf(inMounts, `syscall(165, $none, $at = "/etc", $kind = "tmpfs", 0, 0)`),
			fmt.Sprintf(inMounts, `syscall(166, $at = "/etc", 0)`)},
		{"a process comes in that nothing filters", "system calls", `sleep 300 < /dev/null > /dev/null 2>&1 & echo $! > $2/cgroup.procs`,
			`for p in $(cat $2/cgroup.procs); do [ $p = $1 ] || kill -9 $p; done; while [ $(wc -l < $2/cgroup.procs) != 1 ]; do sleep 0.05; done`},
	} {
		t.Run(s.name, func(t *testing.T) {
			ashlar(t, "exec", e.Node, "--", "sh", "-ec", s.does, "sh", pid, memory)
			got, code := explain(t, "strict", "-n", ns, "--differing")
			ashlar(t, "exec", e.Node, "--", "sh", "-ec", s.undoes, "sh", pid, memory)
			if f := factOf(got, s.what); code != 2 || f.Differs == "" {
				t.Errorf("it is not named: exit %d, %+v", code, got.Facts)
			}
			if back, code := explain(t, "strict", "-n", ns, "--differing"); code != 0 {
				t.Errorf("afterwards: exit %d, %+v", code, back.Facts)
			}
		})
	}
	if out, code := try("-f", file, "isolation", "explain", "nobody", "-n", ns); code != 64 || !strings.Contains(out, "there is no pod nobody") {
		t.Errorf("of a pod that is not there: exit %d, %s", code, out)
	}
}

// TestForesee: the API says what it would do with pods of a file, as whoever would make them; nothing is made.
func TestForesee(t *testing.T) {
	const ns = "foresee"
	t.Cleanup(func() { kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`, ns))
	kubectl(t, "wait", "serviceaccount/default", "--namespace="+ns, "--for=create", "--timeout=30s")
	foresee := func(manifest string, args ...string) ([]phase.Foresight, int) {
		t.Helper()
		out, code := tryWith(manifest, append([]string{"-f", file, "-o", "json", "isolation", "explain", "--manifest", "-"}, args...)...)
		var found []phase.Foresight
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("exit %d, not JSON: %v\n%s", code, err, out)
		}
		return found, code
	}
	good := fmt.Sprintf(explained, ns, "nowhere/nothing:1")
	found, code := foresee(good)
	if code != 0 || len(found) != 1 || !found[0].Accepted || found[0].Class != isolation.Restricted {
		t.Errorf("a pod that is as it must be: exit %d, %+v", code, found)
	}
	bad := strings.Replace(good, "readOnlyRootFilesystem: true", "privileged: true", 1)
	bad = strings.Replace(bad, "allowPrivilegeEscalation: false, ", "", 1)
	if found, code = foresee(bad); code != 2 || found[0].Accepted || !strings.Contains(found[0].Answer, "privileged") {
		t.Errorf("a privileged one: exit %d, %+v", code, found)
	}
	if found, code = foresee(good, "--as", "nobody-here"); code != 2 || found[0].Accepted || !strings.Contains(found[0].Answer, "nobody-here") {
		t.Errorf("one made by somebody who may make none: exit %d, %+v", code, found)
	}
	job := fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: %s}, spec: {template: {spec: {hostPID: true, restartPolicy: Never, containers: [{name: a, image: b}]}}}}`, ns)
	if found, code = foresee(job); code != 2 || found[0].Accepted || found[0].Uses[0].Who.User != "system:serviceaccount:kube-system:job-controller" {
		t.Errorf("what a controller would make: exit %d, %+v", code, found)
	}
	if out := kubectl(t, "get", "pods,jobs", "--namespace="+ns, "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("something was made: %s", out)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--manifest", "-"}, {"--manifest", "/nowhere"}} {
		if out, code := try(append([]string{"-f", file, "isolation", "explain"}, args...)...); code != 64 {
			t.Errorf("%v: exit %d, %s", args, code, out)
		}
	}
}

// factOf is the one about something that differs, or the first about it.
func factOf(e phase.Explanation, what string) contain.Fact {
	var first contain.Fact
	for _, f := range e.Facts {
		if f.What == what && (first.What == "" || first.Differs == "") {
			first = f
		}
	}
	return first
}

// pidOf is the first process of a pod's container, on its machine.
func pidOf(t *testing.T, machine, namespace, pod string) string {
	t.Helper()
	id := kubectl(t, "get", "pod", pod, "--namespace="+namespace, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	_, id, _ = strings.Cut(strings.TrimSpace(id), "://")
	return strings.TrimSpace(ashlar(t, "exec", machine, "--", "cat", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"+id+"/init.pid"))
}

// inMounts makes a call among the mounts of a process. The pod's image has no programs to do so, and those of the machine are not
// to be found there: one that is there already goes over, and calls the kernel itself.
const inMounts = `perl -e 'open my $ns, "<", "/proc/$ARGV[0]/ns/mnt" or die $!; syscall(308, fileno $ns, 0x20000) == 0 or die $!;
my ($none, $at, $kind) = ("none") x 3; %s == 0 or die $!' $1`

// lift changes a cgroup's limit of memory, of either version; in the first, that with swap is never less.
func lift(two, one string) string {
	return fmt.Sprintf("cd $2; m=memory.limit_in_bytes; w=memory.memsw.limit_in_bytes; if [ -f memory.max ]; then %s; else %s; fi", two, one)
}

// remount makes what is mounted at a place writable, or read-only.
func remount(at string, readOnly bool) string {
	flags := 0x1020 // MS_BIND, MS_REMOUNT
	if readOnly {
		flags |= 1
	}
	return fmt.Sprintf(inMounts, fmt.Sprintf(`syscall(165, $none, $at = %q, $none, %d, 0)`, at, flags))
}

// reader is a pod of a class that is granted to its ServiceAccount: it may mount what is below /var/log.
const reader = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: granted, labels: {ashlar.dev/class: logs}}
spec:
  serviceAccountName: reader
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: %[2]s
    args: [pause]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: log, mountPath: /log, readOnly: true}]
  volumes: [{name: log, hostPath: {path: %[3]s}}]
`

// TestExplainGrant: whose grant it is that lets a pod be what it is, and that a directory of the machine is the one that the class
// allows, not one that a link leads to.
func TestExplainGrant(t *testing.T) {
	image := importImage(t, "agnhost")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kubectl(t, "delete", "namespace", "granted", "--ignore-not-found")
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Error(err)
		}
		ashlar(t, "up")
	})
	isolated := string(before) + `  isolation:
    classes: [{name: logs, hostPaths: [{prefix: /var/log, readOnly: true}]}]
    grants: [{class: logs, namespaces: [granted], users: [alice], serviceAccounts: [reader]}]
`
	if err := os.WriteFile(file, []byte(isolated), 0o600); err != nil {
		t.Fatal(err)
	}
	ashlar(t, "up")
	apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: granted}}`)
	apply(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: granted}}`)
	// The namespace's Pod Security level, and the grant, are its controller's to place.
	eventually(t, 30*time.Second, func() error {
		if out, code := tryWith(fmt.Sprintf(reader, "one", image, "/var/log"), "-f", file, "kubectl", "--", "apply", "-f", "-"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	kubectl(t, "wait", "pod/one", "--namespace=granted", "--for=condition=Ready", "--timeout=60s")
	e, code := explain(t, "one", "-n", "granted")
	if code != 0 || e.Class != "logs" || len(e.Refuses) != 0 {
		t.Fatalf("exit %d, class %s, refuses %v, differing %+v", code, e.Class, e.Refuses, contain.Differing(e.Facts))
	}
	last := e.Uses[len(e.Uses)-1]
	if !last.Allowed || !strings.Contains(last.Reason, isolation.RoleName("logs")) {
		t.Errorf("the grant is not named: %+v", last)
	}
	if f := factOf(e, "/log"); f.Kernel != "/var/log of the machine, read-only" {
		t.Errorf("got %+v", f)
	}
	if !slices.ContainsFunc(e.Holders, func(h authz.Holder) bool { return h.User == "alice" }) {
		t.Errorf("alice is granted the class, and is not among %+v", e.Holders)
	}

	// What is not there yet: whoever makes it, its ServiceAccount may use the class; another may not.
	job := `{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: granted}, spec: {template: {metadata: {labels: {ashlar.dev/class: logs}}, spec: {
  serviceAccountName: %s, restartPolicy: Never, securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}},
  containers: [{name: main, image: x, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}}}`
	for account, want := range map[string]int{"reader": 0, "default": 2} {
		out, code := tryWith(fmt.Sprintf(job, account), "-f", file, "isolation", "explain", "--manifest", "-")
		if code != want {
			t.Errorf("a Job of ServiceAccount %s: exit %d, not %d\n%s", account, code, want, out)
		}
	}

	// A link on the machine leads out of what the class allows: by its name the directory is one that it does.
	ashlar(t, "exec", e.Node, "--", "ln", "-sfn", "/etc", "/var/log/link")
	t.Cleanup(func() { ashlar(t, "exec", e.Node, "--", "rm", "-f", "/var/log/link") })
	pinned := strings.Replace(fmt.Sprintf(reader, "two", image, "/var/log/link"), "spec:\n", "spec:\n  nodeName: "+e.Node+"\n", 1)
	if out, code := tryWith(pinned, "-f", file, "kubectl", "--", "apply", "-f", "-"); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	kubectl(t, "wait", "pod/two", "--namespace=granted", "--for=condition=Ready", "--timeout=60s")
	e, code = explain(t, "two", "-n", "granted", "--differing")
	if f := factOf(e, "/log"); code != 2 || f.Kernel != "/etc of the machine, read-only" || !strings.Contains(f.Differs, "symbolic link") {
		t.Errorf("a link leads to /etc: exit %d, %+v", code, e.Facts)
	}
}
