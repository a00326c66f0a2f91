package e2e

import (
	"fmt"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"net-policy", "felix stands still on one host", frozen("worker-1", "calico-node")},
		sabotage{"net-policy", "policies no longer reach the overlay's etcd", frozen("control-plane-0", "calico-kube-controllers")},
		sabotage{"net-policy", "a rule before felix's, put there again and again, lets everything through on one host", overruled("worker-1")},
		sabotage{"net-policy", "a policy that Kubernetes does not know of allows everything", hiddenPolicy},
	)
}

// frozen stops a unit without ending it: its supervisor sees nothing amiss.
func frozen(machine, unit string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		pid := unitsOf(t, machine)[unit]
		if pid == 0 {
			t.Fatalf("%s has no %s", machine, unit)
		}
		signal := func(name string) {
			ashlar(t, "exec", machine, "--", "kill", "-"+name, fmt.Sprint(pid))
		}
		t.Cleanup(func() {
			signal("CONT")
			ashlar(t, "up")
		})
		signal("STOP")
	}
}

// overruled keeps a rule in front of felix's. Once would not do: felix is first again as soon as it has anything to change.
func overruled(machine string) func(*testing.T, *claim.Target) {
	const again = `while :; do iptables -w -D FORWARD -j ACCEPT; iptables -w -I FORWARD 1 -j ACCEPT; sleep 0.1; done`
	return func(t *testing.T, _ *claim.Target) {
		pid := strings.TrimSpace(ashlar(t, "exec", machine, "--", "bash", "-c", "bash -c '"+again+"' >/dev/null 2>&1 & echo $!"))
		t.Cleanup(func() {
			ashlar(t, "exec", machine, "--", "kill", pid)
			ashlar(t, "exec", machine, "--", "bash", "-c", "while iptables -w -D FORWARD -j ACCEPT; do :; done 2>/dev/null; true")
		})
	}
}

// hiddenPolicy writes a Calico policy of the first order into the overlay's etcd, as its administrator.
func hiddenPolicy(t *testing.T, target *claim.Target) {
	const key = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/sabotage"
	const policy = `{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"sabotage","uid":"4a2c1c0e-5d0b-4c5e-9b1e-0c6a3f6f7a11"},` +
		`"spec":{"order":1,"selector":"all()","types":["Ingress","Egress"],"ingress":[{"action":"Allow"}],"egress":[{"action":"Allow"}]}}`
	t.Cleanup(func() { overlay(t, target, "del", key) })
	overlay(t, target, "put", key, policy)
}

// overlay runs etcdctl on the overlay's etcd as root.
func overlay(t *testing.T, target *claim.Target, args ...string) string {
	t.Helper()
	root := unit.Profile{CA: unit.CAEtcdOverlay, Name: "root"}
	return ashlar(t, append([]string{"exec", target.Desired.WithRole(v1alpha1.RoleEtcd)[0].Name, "--", unit.Bin + "/etcdctl",
		"--endpoints=" + target.Desired.EtcdEndpoints(unit.EtcdClusters[2]), "--cacert=" + unit.CAFile(root.CA),
		"--cert=" + root.CertFile(), "--key=" + root.KeyFile()}, args...)...)
}
