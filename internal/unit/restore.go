package unit

import (
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// AppliedFile is where an agent notes the revision of the boot document that its units run by. A reboot clears it.
const AppliedFile = "/run/ashlar/revision"

// HeldForRestore names the units of a role that must not run while etcd is replaced: etcd itself, and who remembers what was
// in it. Pods go on meanwhile.
func HeldForRestore(role v1alpha1.Role) []string {
	switch role {
	case v1alpha1.RoleEtcd:
		var out []string
		for _, c := range EtcdClusters {
			out = append(out, c.UnitName())
		}
		return append(out, "etcd-overlay-auth", "etcd-overlay-members")
	case v1alpha1.RoleControlPlane:
		return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "calico-kube-controllers"}
	case v1alpha1.RoleWorker:
		return []string{"kubelet", "calico-wait", "calico-startup", "calico-announced", "calico-tunnel", "calico-node"}
	}
	return nil
}

// UnitName is the unit that runs a member of the cluster.
func (c EtcdCluster) UnitName() string { return "etcd-" + c.Name }

// DataDir is where a member keeps its data.
func (c EtcdCluster) DataDir() string { return "/var/lib/etcd/" + c.Name }

// RevisionBump is how far an etcd that is restored at a moment is put ahead of its snapshot. Whoever remembers a later revision
// than the snapshot's must not find another history under the same number: it is told that its revision is gone, and reads
// everything anew. That includes who remembers an earlier restore of the same snapshot: the bump grows by ten thousand a second,
// faster than anybody writes.
func RevisionBump(at time.Time) int64 {
	return int64(at.Sub(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds()) * 10_000
}

// EtcdRestore is the command that makes a member's data directory of a snapshot. Every member of a cluster gets the same
// snapshot, token and bump; the token sets the restored cluster apart from the one of before.
func EtcdRestore(d Desired, c EtcdCluster, snapshot, token string, bump int64, into string) []string {
	var initial []string
	for _, m := range d.WithRole(v1alpha1.RoleEtcd) {
		initial = append(initial, fmt.Sprintf("%s=https://%s:%d", m.Name, m.Name, c.PeerPort))
	}
	return []string{Bin + "/etcdutl", "snapshot", "restore", snapshot, "--data-dir=" + into, "--name=" + d.Self,
		"--initial-cluster=" + strings.Join(initial, ","), "--initial-cluster-token=" + token,
		fmt.Sprintf("--initial-advertise-peer-urls=https://%s:%d", d.Self, c.PeerPort),
		fmt.Sprintf("--bump-revision=%d", bump), "--mark-compacted"}
}
