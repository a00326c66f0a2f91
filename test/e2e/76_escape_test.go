package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
)

// escapeClasses are pods that are granted more than others, and may use it.
const escapeClasses = `  isolation:
    classes:
    - {name: sniffer, standard: baseline, capabilities: [NET_RAW]}
    grants:
    - {class: baseline, namespaces: [escape], serviceAccounts: [default]}
    - {class: sniffer, namespaces: [escape], serviceAccounts: [default]}
    - {class: privileged, namespaces: [escape], serviceAccounts: [default]}
`

// escapePod is a pod of a class that waits to be attacked from inside.
const escapePod = `{apiVersion: v1, kind: Pod, metadata: {name: %[1]s, namespace: escape, labels: {ashlar.dev/class: %[1]s}}, spec: {
  nodeName: worker-0, terminationGracePeriodSeconds: 0, %[3]s
  containers: [{name: a, image: %[2]q, imagePullPolicy: Never, args: [probe, serve, ":8080"], securityContext: {%[4]s}}]}}`

// TestEscape: what leads out of a container is refused to pods of every class but the one that declares it.
func TestEscape(t *testing.T) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	declared := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(declared, append(b, escapeClasses...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kubectl(t, "delete", "namespace", "escape", "--ignore-not-found")
		up(t, file)
	})
	kubectl(t, "create", "namespace", "escape")
	up(t, declared)
	image := importImage(t, "ashlar")
	const restricted = `allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}`
	const nobody = `securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}},`
	raw := []string{"open a raw socket of IP", "open a packet socket"}
	for _, c := range []struct {
		class, pod, container string
		allowed               []string
		ownUsers              bool
	}{
		{"restricted", nobody, restricted, nil, true},
		{"baseline", "", "", nil, true},
		{"sniffer", "", "capabilities: {add: [NET_RAW]}", raw, true},
		// So that it is known that the attempts can succeed.
		{"privileged", "hostPID: true,", "privileged: true", append(raw, "write the machine's kernel.core_pattern", "mount a file system",
			"make a mount namespace (unshare)", "make a user namespace (clone)", "trace a neighbour's process (ptrace)", "have a keyring (keyctl)",
			"open a device of the machine", "make a device and open it (mknod)"), false},
	} {
		t.Run(c.class, func(t *testing.T) {
			if out, code := tryWith(fmt.Sprintf(escapePod, c.class, image, c.pod, c.container), "-f", declared, "kubectl", "--", "apply", "-f", "-"); code != 0 {
				t.Fatalf("exit %d: %s", code, out)
			}
			kubectl(t, "wait", "--for=condition=Ready", "pod/"+c.class, "--namespace=escape", "--timeout=60s")
			inside := escaped(t, c.class)
			for _, e := range inside.Escapes {
				switch wanted := slices.Contains(c.allowed, e.Attempt); {
				case e.Allowed && !wanted && c.class != "privileged":
					t.Errorf("%s: it worked", e.Attempt)
				case !e.Allowed && wanted:
					t.Errorf("%s: refused, though it is declared: %s", e.Attempt, e.Answer)
				}
				t.Logf("%s: %t: %s", e.Attempt, e.Allowed, e.Answer)
			}
			if inside.OwnUsers() != c.ownUsers {
				t.Errorf("its users are %s", inside.Users)
			}
			if c.class != "privileged" && (inside.Field("Seccomp") != "2" || inside.Field("NoNewPrivs") != "1") {
				t.Errorf("Seccomp: %s, NoNewPrivs: %s", inside.Field("Seccomp"), inside.Field("NoNewPrivs"))
			}
			if len(inside.Tokens) > 0 {
				t.Errorf("it has a token that it did not ask for: %v", inside.Tokens)
			}
		})
	}
}

// escaped is what a pod finds that tries to get out.
func escaped(t *testing.T, pod string) claim.Inside {
	t.Helper()
	var inside claim.Inside
	eventually(t, 20*time.Second, func() error { // what ends quickly may be lost
		out, code := try("-f", file, "kubectl", "--", "exec", pod, "--namespace=escape", "--", "/ashlar", "probe", "escape")
		if code != 0 {
			return errorString(out)
		}
		return json.Unmarshal([]byte(strings.TrimSpace(out)), &inside)
	})
	return inside
}
