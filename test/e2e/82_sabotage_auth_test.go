package e2e

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"authn-x509", "the API trusts the CA of etcd, too", editAPI(
			"cat " + unit.CAFile(unit.CAEtcdKubernetes) + " >> " + unit.CAFile(unit.CAKubernetes))},
		sabotage{"authn-anonymous", "anonymous requests reach every path", editAPI(
			`sed -i '/conditions:/,$d' /etc/kubernetes/authentication.yaml`)},
		sabotage{"authn-password", "credentials of a day", vaultSabotage("", "write", "identity/oidc/role/%", "ttl=24h", "key=%")},
		sabotage{"authn-token", "a token file", editAPI(
			`printf 'of-no-use-to-anybody,mallory,1\n' > /etc/kubernetes/tokens.csv; args+=(--token-auth-file=/etc/kubernetes/tokens.csv)`)},
		sabotage{"authn-serviceaccount", "a legacy token secret", legacyToken},
		sabotage{"authz-default", "every authenticated user may view", binding("view", "--group=system:authenticated")},
		sabotage{"authz-default", "a role for one resource, for every ServiceAccount", binding("system:kube-dns", "--group=system:serviceaccounts")},
		sabotage{"authz-kube-system", "its ServiceAccounts may view", binding("view", "--group=system:serviceaccounts:kube-system")},
		sabotage{"authz-monitoring", "its ServiceAccounts may edit", binding("edit", "--group=system:serviceaccounts:monitoring")},
		sabotage{"authz-namespace", "ServiceAccounts may view wherever they are", binding("view", "--group=system:serviceaccounts")},
		sabotage{"authz-rbac", "CoreDNS may read Secrets", widened("ashlar:coredns", `{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}`)},
		sabotage{"authz-rbac", "a role of Kubernetes' own may do everything", widened("system:kube-scheduler", `{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}`)},
		sabotage{"authn-token", "a break-glass token was left behind", leftToken},
		sabotage{"authz-node", "nodes have the role that the Node authorizer replaced", binding("system:node", "--group=system:nodes")},
	)
}

// editAPI changes what the API servers go by.
func editAPI(edit string) func(*testing.T, *claim.Target) {
	return editUnit(v1alpha1.RoleControlPlane, "kube-apiserver", edit, apiAnswers)
}

// editUnit changes what a unit goes by on all machines of a role, and runs it like that. The agent would write the files
// again before it starts the unit, so it is stopped meanwhile; `up` mends what is left.
func editUnit(role v1alpha1.Role, unit, edit string, answers func(*testing.T)) func(*testing.T, *claim.Target) {
	take := `
pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' /run/ashlar/units/` + unit + `.json)
agent=$(cut -d ' ' -f 4 /proc/$pid/stat)
mapfile -d '' args < /proc/$pid/cmdline
kill -STOP $agent
`
	const run = `
kill -9 $pid
# The last of its threads may hold the port for a moment longer.
env -i PATH="$PATH" setsid bash -c 'until "$@"; do sleep 0.2; done' retry "${args[@]}" < /dev/null > /var/log/ashlar/sabotage.log 2>&1 &
echo $! $agent > /run/ashlar/sabotage
`
	const giveBack = `read pid agent < /run/ashlar/sabotage; kill -9 -- -$pid; kill -CONT $agent`
	return func(t *testing.T, target *claim.Target) {
		t.Cleanup(func() {
			onRole(t, target, role, giveBack)
			ashlar(t, "up")
			answers(t)
		})
		onRole(t, target, role, "set -e"+take+edit+run)
		answers(t)
	}
}

// onRole runs a script on every machine of a role.
func onRole(t *testing.T, target *claim.Target, role v1alpha1.Role, script string) {
	t.Helper()
	for _, m := range target.Machines {
		if m.Role != role {
			continue
		}
		var out bytes.Buffer
		// The test's own context is over when it cleans up.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := target.Provider.Exec(ctx, m.Name, provider.Exec{Args: []string{"bash", "-c", script}, Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out.String())
		}
	}
}

func apiAnswers(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		out, code := try("-f", file, "kubectl", "--", "get", "--raw", "/readyz")
		if code != 0 {
			return errorString(out)
		}
		return nil
	})
}

type errorString string

func (e errorString) Error() string { return string(e) }

// binding adds a ClusterRoleBinding.
func binding(role, subject string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		t.Cleanup(func() { kubectl(t, "delete", "clusterrolebinding", "sabotage") })
		kubectl(t, "create", "clusterrolebinding", "sabotage", "--clusterrole="+role, subject)
	}
}

// legacyToken makes a Secret for a token without end, which admission refuses until its policy is gone.
func legacyToken(t *testing.T, _ *claim.Target) {
	secret := `{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/service-account-token","metadata":` +
		`{"name":"legacy","namespace":"default","annotations":{"kubernetes.io/service-account.name":"default"}}}`
	t.Cleanup(func() {
		kubectl(t, "delete", "secret", "legacy", "--namespace=default")
		ashlar(t, "up")
		eventually(t, time.Minute, func() error { // admission hears of the policy, and the probe's own try goes, in their own time
			if _, code := tryWith(secret, "-f", file, "kubectl", "--", "create", "--dry-run=server", "-f", "-"); code == 0 {
				return errorString("admission lets such a Secret through")
			}
			if left := kubectl(t, "get", "secrets", "-A", "--field-selector=type=kubernetes.io/service-account-token", "-o", "name"); left != "" {
				return errorString("still there: " + left)
			}
			return nil
		})
	})
	kubectl(t, "delete", "validatingadmissionpolicybindings", "--selector=app.kubernetes.io/managed-by=ashlar")
	eventually(t, 30*time.Second, func() error { // admission forgets the policy in its own time
		out, code := tryWith(secret, "-f", file, "kubectl", "--", "create", "-f", "-")
		if code != 0 {
			return errorString(out)
		}
		return nil
	})
}

// widened adds a rule to a ClusterRole.
func widened(role, rule string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		before := kubectl(t, "get", "clusterrole", role, "-o", "jsonpath={.rules}")
		t.Cleanup(func() {
			kubectl(t, "patch", "clusterrole", role, "--type=merge", "-p", `{"rules":`+before+`}`)
			ashlar(t, "up")
		})
		kubectl(t, "patch", "clusterrole", role, "--type=json", "-p", `[{"op":"add","path":"/rules/-","value":`+rule+`}]`)
	}
}

// leftToken leaves the hash of a token on a control-plane machine, as a killed break-glass would.
func leftToken(t *testing.T, target *claim.Target) {
	t.Cleanup(func() { onRole(t, target, v1alpha1.RoleControlPlane, "rm "+unit.BreakGlassFile) })
	onRole(t, target, v1alpha1.RoleControlPlane, fmt.Sprintf(`printf '[{"sha256":"%064d","expires":"%s","reason":"left behind"}]' > %s`,
		1, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), unit.BreakGlassFile))
}
