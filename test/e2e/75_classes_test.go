package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// classesSpec has a class of its own, and grants to a group, a ServiceAccount and a user.
const classesSpec = `  isolation:
    classes:
    - {name: log-reader, hostPaths: [{prefix: /var/log, readOnly: true}]}
    grants:
    - {class: baseline, namespaces: [class-shop], groups: [class-makers]}
    - {class: log-reader, namespaces: [class-shop], serviceAccounts: [shipper]}
    - {class: privileged, namespaces: [class-ops], users: [class-olga]}
`

// classPod is one, of some class, ServiceAccount and difference from what restricted allows.
func classPod(namespace, name, class, account, image, container, pod string) string {
	label := ""
	if class != "" {
		label = ", labels: {ashlar.dev/class: " + class + "}"
	}
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s%s}, spec: {%s}}`, name, namespace, label, classSpec(account, image, container, pod))
}

func classSpec(account, image, container, pod string) string {
	if container == "" {
		container = "allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}"
	}
	return fmt.Sprintf(`serviceAccountName: %s, automountServiceAccountToken: false, terminationGracePeriodSeconds: 0,
securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}%s, containers: [{name: c, image: "%s", imagePullPolicy: Never,
args: [probe, sink, "0.0.0.0:8081"], securityContext: {%s}%s}]`, account, pod, image, container, map[bool]string{true: ", volumeMounts: [{name: v, mountPath: /v, readOnly: true}]"}[strings.Contains(pod, "volumes")])
}

// TestClasses: who may use which class of pods where, in which words others are refused, by every way to a pod; what somebody
// changes about it is put back, and what is no longer granted is taken away.
func TestClasses(t *testing.T) {
	image := importImage(t, "ashlar")
	t.Cleanup(func() {
		kubectl(t, "delete", "namespace", "class-shop", "class-ops", "class-hand", "--wait=false", "--ignore-not-found")
		kubectl(t, "delete", "clusterrolebinding", "class-edit", "--ignore-not-found")
	})
	for _, ns := range []string{"class-shop", "class-ops", "class-hand"} {
		kubectl(t, "create", "namespace", ns)
	}
	for _, account := range []string{"shipper", "web"} {
		kubectl(t, "create", "serviceaccount", account, "--namespace=class-shop")
	}
	kubectl(t, "create", "clusterrolebinding", "class-edit", "--clusterrole=edit", "--group=class-makers", "--group=class-others", "--user=class-olga")
	changed := declared(t, classesSpec)
	if out, code := try("-f", changed, "plan"); code != 0 {
		t.Errorf("plan after up: exit %d\n%s", code, out)
	}
	level := func(ns string) string {
		return kubectl(t, "get", "namespace", ns, `-o=jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`)
	}
	for ns, want := range map[string]string{"class-shop": "privileged", "class-ops": "privileged", "class-hand": "restricted", "kube-system": "restricted"} {
		if got := level(ns); got != want {
			t.Errorf("Pod Security level of %s: %s, want %s", ns, got, want)
		}
	}

	const (
		loose = "capabilities: {add: [CHOWN]}"
		logs  = ", volumes: [{name: v, hostPath: {path: /var/log/pods}}]"
		etc   = ", volumes: [{name: v, hostPath: {path: /etc}}]"
	)
	makers, others, olga := []string{"--as=class-mo", "--as-group=class-makers"}, []string{"--as=class-otto", "--as-group=class-others"}, []string{"--as=class-olga"}
	create := func(as []string, manifest string, dry bool) string {
		args := append([]string{"-f", changed, "kubectl", "--", "create", "-f", "-"}, as...)
		if dry {
			args = append(args, "--dry-run=server")
		}
		out, code := tryWith(manifest, args...)
		if code == 0 {
			return ""
		}
		return out
	}
	for _, c := range []struct {
		what     string
		as       []string
		manifest string
		refused  string // what the answer has; "": it is taken
	}{
		{"restricted, by anybody", others, classPod("class-shop", "x", "", "web", image, "", ""), ""},
		{"less than restricted", others, classPod("class-shop", "x", "", "web", image, loose, ""),
			"class restricted does not allow Capabilities: spec.containers[0].securityContext.capabilities.drop is without ALL; " +
				"Capabilities: spec.containers[0].securityContext.capabilities.add is CHOWN"},
		{"and what would allow it", others, classPod("class-shop", "x", "", "web", image, loose, ""),
			"It would be allowed by class baseline or privileged (label ashlar.dev/class). Administrators grant classes: spec.isolation.grants"},
		{"baseline, by a group it is granted to", makers, classPod("class-shop", "x", "baseline", "web", image, loose, ""), ""},
		{"baseline, by others", others, classPod("class-shop", "x", "baseline", "web", image, loose, ""),
			"class baseline is not granted here: neither class-otto nor ServiceAccount class-shop/web may use it in namespace class-shop"},
		{"baseline, elsewhere", makers, classPod("class-ops", "x", "baseline", "default", image, loose, ""), "class baseline is not granted here"},
		{"a class of the file's, by its ServiceAccount", others, classPod("class-shop", "x", "log-reader", "shipper", image, "", logs), ""},
		{"beside its directory", others, classPod("class-shop", "x", "log-reader", "shipper", image, "", etc),
			"class log-reader does not allow HostPath Volumes: spec.volumes[0].hostPath.path is /etc. It would be allowed by class privileged"},
		{"with another ServiceAccount", others, classPod("class-shop", "x", "log-reader", "web", image, "", logs), "class log-reader is not granted here"},
		{"privileged, by a user", olga, classPod("class-ops", "x", "privileged", "default", image, "privileged: true", ", hostPID: true"), ""},
		{"no class", olga, classPod("class-ops", "x", "root", "default", image, "", ""), "there is no class root: label ashlar.dev/class must be one of restricted, baseline, privileged, log-reader"},
		{"by an administrator, where it is not granted", nil, classPod("class-hand", "x", "privileged", "default", image, "privileged: true", ""), `violates PodSecurity "restricted:latest"`},
		{"an init container", others, classPod("class-shop", "x", "", "web", image, "", `, initContainers: [{name: i, image: a, securityContext: {privileged: true}}]`),
			"Privileged Containers: spec.initContainers[0].securityContext.privileged is true"},
		{"a sidecar", others, classPod("class-shop", "x", "", "web", image, "", `, initContainers: [{name: i, image: a, restartPolicy: Always, securityContext: {procMount: Default, runAsUser: 0}}]`),
			"Running as Non-root user: spec.initContainers[0].securityContext.runAsUser is 0"},
	} {
		for _, dry := range []bool{true, false} {
			got := create(c.as, c.manifest, dry)
			if c.refused == "" && got != "" || !strings.Contains(got, c.refused) {
				t.Errorf("%s (dry run: %t): %s\nwant %q", c.what, dry, got, c.refused)
			}
		}
		kubectl(t, "delete", "pod", "x", "--namespace=class-shop", "--ignore-not-found", "--wait")
		kubectl(t, "delete", "pod", "x", "--namespace=class-ops", "--ignore-not-found", "--wait")
	}

	// What a Deployment makes is asked of its ServiceAccount; who is refused reads it at the ReplicaSet.
	deployment := func(name, class, account string) string {
		return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s, namespace: class-shop}, spec: {replicas: 1, selector: {matchLabels: {app: %[1]s}},
template: {metadata: {labels: {app: %[1]s, ashlar.dev/class: %[2]s}}, spec: {%[3]s}}}}`, name, class, classSpec(account, image, "", logs))
	}
	for name, account := range map[string]string{"granted": "shipper", "refused": "web"} {
		if got := create(makers, deployment(name, "log-reader", account), false); got != "" {
			t.Fatal(got)
		}
	}
	kubectl(t, "rollout", "status", "deployment/granted", "--namespace=class-shop", "--timeout=60s")
	eventually(t, 30*time.Second, func() error {
		out := kubectl(t, "get", "replicaset", "--namespace=class-shop", "--selector=app=refused", "-o=jsonpath={.items[*].status.conditions[*].message}")
		const want = "class log-reader is not granted here: neither system:serviceaccount:kube-system:replicaset-controller nor ServiceAccount class-shop/web may use it"
		if !strings.Contains(out, want) {
			return fmt.Errorf("the ReplicaSet says %q, want %q", out, want)
		}
		return nil
	})

	// A pod that runs stays what it is.
	pod := strings.TrimSpace(kubectl(t, "get", "pod", "--namespace=class-shop", "--selector=app=granted", "-o=name"))
	refuses := func(what, want string, args ...string) {
		t.Helper()
		out, code := try(append([]string{"-f", changed, "kubectl", "--"}, args...)...)
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d\n%s\nwant %q", what, code, out, want)
		}
	}
	refuses("another class", "a pod's class cannot change: it is log-reader, not privileged", "label", pod, "--namespace=class-shop", "--overwrite", "ashlar.dev/class=privileged")
	refuses("a debugger with more", "Privileged Containers: spec.ephemeralContainers[0].securityContext.privileged is true", "patch", pod, "--namespace=class-shop", "--subresource=ephemeralcontainers",
		"--type=strategic", `--patch={"spec":{"ephemeralContainers":[{"name":"d","image":"`+image+`","securityContext":{"privileged":true}}]}}`)
	kubectl(t, "patch", pod, "--namespace=class-shop", "--subresource=ephemeralcontainers", "--type=strategic", `--patch={"spec":{"ephemeralContainers":[{"name":"d","image":"`+image+
		`","imagePullPolicy":"Never","args":["version"],"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`)
	kubectl(t, "label", pod, "--namespace=class-shop", "other=label")

	// What is taken away comes back.
	kubectl(t, "label", "namespace", "class-hand", "--overwrite", "pod-security.kubernetes.io/enforce=privileged", "pod-security.kubernetes.io/warn-")
	kubectl(t, "delete", "rolebinding", "ashlar:class:baseline", "--namespace=class-shop")
	eventually(t, 15*time.Second, func() error {
		if got := level("class-hand"); got != "restricted" {
			return fmt.Errorf("class-hand is %s", got)
		}
		if got := create(makers, classPod("class-shop", "y", "baseline", "web", image, loose, ""), true); got != "" {
			return fmt.Errorf("the grant is not back: %s", got)
		}
		return nil
	})
	// RBAC made by hand counts, as that of the file does: but nobody gives what they do not have.
	byHand := []string{"create", "rolebinding", "by-hand", "--namespace=class-hand", "--clusterrole=ashlar:class:baseline", "--group=class-others"}
	kubectl(t, "create", "rolebinding", "class-admin", "--namespace=class-hand", "--clusterrole=admin", "--group=class-makers")
	refuses("a grant by who has none", "attempting to grant RBAC permissions not currently held", append(byHand, makers...)...)
	kubectl(t, byHand...)
	eventually(t, 15*time.Second, func() error {
		if got := create(others, classPod("class-hand", "y", "baseline", "default", image, loose, ""), true); got != "" {
			return fmt.Errorf("by hand: %s", got)
		}
		return nil
	})

	// No longer granted. The pod that runs is left alone.
	ashlar(t, "up")
	if got := level("class-shop"); got != "restricted" {
		t.Errorf("class-shop is still %s", got)
	}
	if got := create(makers, classPod("class-shop", "z", "baseline", "web", image, loose, ""), true); !strings.Contains(got, "class baseline is not granted here") {
		t.Errorf("after the grant is gone: %s", got)
	}
	kubectl(t, "label", pod, "--namespace=class-shop", "other-")
	kubectl(t, "delete", pod, "--namespace=class-shop", "--wait")
}
