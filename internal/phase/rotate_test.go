package phase

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
)

// rotating is a cluster with one machine of each role, as they have been told.
func rotating() []enrolled {
	d := unit.Desired{Cluster: "demo", ID: "0123456789abcdef", KubernetesVersion: "v1.37.2", MachineCIDR: "10.90.0.0/24",
		PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16", ClusterDomain: "cluster.local", LeafTTL: 24 * time.Hour, CAs: map[unit.CA]string{}, SSH: &unit.SSH{UserCA: "(user)\n", HostCA: "(host)\n"}}
	for _, ca := range unit.CAs {
		d.CAs[ca] = "(" + string(ca) + ")\n"
	}
	a := netip.MustParseAddr("10.90.0.10")
	for _, role := range []v1alpha1.Role{v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleLB, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker} {
		d.Machines = append(d.Machines, unit.Machine{Name: string(role) + "-0", Role: role, Address: a})
		a = a.Next()
	}
	var all []enrolled
	for _, m := range d.Machines {
		e := enrolled{want: d}
		e.machine.Name, e.machine.Role = m.Name, m.Role
		e.want.Self = m.Name
		if m.Role == v1alpha1.RoleControlPlane {
			e.want.ServiceAccountKeys = []string{"service-account"}
		}
		all = append(all, e)
	}
	return all
}

// TestWhatRestarts: whoever reads whom to trust when it starts is restarted when that changes, and at no other step.
func TestWhatRestarts(t *testing.T) {
	everyStage := map[rotation.Target]map[string][]string{
		rotation.VaultTLS:       {"control-plane-0": {"kms"}},
		rotation.EtcdKubernetes: {"etcd-0": {"etcd-k8s", "etcd-events"}, "control-plane-0": {"kube-apiserver"}},
		rotation.EtcdOverlay: {"etcd-0": {"etcd-overlay", "etcd-overlay-auth"}, "control-plane-0": {"calico-kube-controllers"},
			"worker-0": {"calico-wait", "calico-startup", "calico-tunnel", "calico-node", "cni"}},
		rotation.FrontProxy: {"control-plane-0": {"kube-apiserver", "kube-controller-manager", "kube-scheduler"}},
		rotation.Kubernetes: {"control-plane-0": {"webhook", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "calico-kube-controllers",
			"baseline-controller"}, "worker-0": {"kubelet", "kube-proxy", "calico-wait", "cni"}},
		rotation.ServiceAccountKey: {"control-plane-0": {"kube-apiserver"}},
		rotation.EncryptionKey:     {},
		rotation.SSHHosts:          {},
		rotation.SSHUsers:          {}, // sshd hears of it, and sessions go on
	}
	all := rotating()
	for _, target := range rotation.Targets {
		before := at(all, []rotation.Target{target}, rotation.Prepare)
		for _, stage := range rotation.Stages {
			after := at(all, []rotation.Target{target}, stage)
			got := map[string][]string{}
			for i, e := range all {
				if units := restarted(before[i], after[i]); len(units) > 0 {
					got[e.machine.Name] = units
				}
			}
			before = after
			want := map[string][]string{}
			if stage == rotation.Trust || stage == rotation.Drop || stage == rotation.Issue && target == rotation.ServiceAccountKey {
				want = everyStage[target]
			}
			if !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s %s restarts %v, want %v", target, stage, got, want)
			}
		}
	}
}

// TestOtherwise finds what is sealed by another version, what is not sealed at all, and nothing else.
func TestOtherwise(t *testing.T) {
	type kv struct{ Key, Value []byte }
	sealed := func(version int) []byte {
		return []byte(fmt.Sprintf("%s\x0a\x80\x01binary\x12\x03etcd/%d\x1a\x20vault:v%d:%s", unit.SealedPrefix, version, version,
			base64.StdEncoding.EncodeToString([]byte("key"))))
	}
	answer, err := json.Marshal(map[string]any{"kvs": []kv{
		{[]byte("/registry/secrets/a/new"), sealed(2)},
		{[]byte("/registry/secrets/a/old"), sealed(1)},
		{[]byte("/registry/secrets/a/newer"), sealed(21)},
		{[]byte("/registry/secrets/a/clear"), []byte("k8s\x00 vault:v2:")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := otherwise(answer, "2")
	if err != nil || fmt.Sprint(got) != "[/registry/secrets/a/old /registry/secrets/a/newer /registry/secrets/a/clear]" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := otherwise([]byte(`{"header":{}}`), "2"); err != nil || len(got) > 0 {
		t.Errorf("nothing stored: %v, %v", got, err)
	}
}
