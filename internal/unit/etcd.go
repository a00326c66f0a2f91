package unit

import (
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// OverlayTransaction is how many changes the overlay's etcd makes at once.
const OverlayTransaction = 8192

// etcdUnits runs a member of each of the three clusters, and defines who may do what in the overlay's.
func etcdUnits(d Desired) []Unit {
	var units []Unit
	for _, c := range EtcdClusters {
		units = append(units, etcd(d, c))
	}
	units = append(units, etcdOverlayAuth(d))
	if d.Region != "" {
		units = append(units, etcdOverlayMembers(d))
	}
	return append(units, sever(d, []File{crlFile(d, CAEtcdKubernetes), crlFile(d, CAEtcdOverlay)}, etcdPorts()...)...)
}

// EtcdEndpoints lists the client URLs of a cluster, with a comma between.
func (d Desired) EtcdEndpoints(c EtcdCluster) string {
	var urls []string
	for _, m := range d.WithRole(v1alpha1.RoleEtcd) {
		urls = append(urls, fmt.Sprintf("https://%s:%d", m.Name, c.ClientPort))
	}
	return strings.Join(urls, ",")
}

func etcdPorts() (ports []int) {
	for _, c := range EtcdClusters {
		ports = append(ports, c.ClientPort, c.PeerPort)
	}
	return ports
}

func etcd(d Desired, c EtcdCluster) Unit {
	me := d.Me()
	server, peer := certificate(d, c.CA, "server"), certificate(d, c.CA, "peer")
	members := d.WithRole(v1alpha1.RoleEtcd)
	var initial, others []string
	for _, m := range members {
		if m.Name != me.Name {
			others = append(others, fmt.Sprintf("%s:%d", m.Name, c.ClientPort))
		}
		initial = append(initial, fmt.Sprintf("%s=https://%s:%d", m.Name, m.Name, c.PeerPort))
	}
	args := []string{
		Bin + "/etcd",
		"--name=" + me.Name,
		"--data-dir=" + c.DataDir(),
		fmt.Sprintf("--listen-client-urls=https://%s:%d,https://127.0.0.1:%d", me.Address, c.ClientPort, c.ClientPort),
		fmt.Sprintf("--advertise-client-urls=https://%s:%d", me.Name, c.ClientPort),
		fmt.Sprintf("--listen-peer-urls=https://%s:%d", me.Address, c.PeerPort),
		fmt.Sprintf("--initial-advertise-peer-urls=https://%s:%d", me.Name, c.PeerPort),
		"--initial-cluster=" + strings.Join(initial, ","),
		"--initial-cluster-token=" + d.ID + "-" + c.Name,
		"--initial-cluster-state=new",
		// Health without a client certificate, on loopback only.
		fmt.Sprintf("--listen-metrics-urls=http://127.0.0.1:%d", c.Metrics),
		"--client-cert-auth=true",
		"--trusted-ca-file=" + CAFile(c.CA),
		"--client-crl-file=" + CRLFile(c.CA),
		"--cert-file=" + server.Profile.CertFile(),
		"--key-file=" + server.Profile.KeyFile(),
		"--peer-client-cert-auth=true",
		"--peer-trusted-ca-file=" + CAFile(c.CA),
		"--peer-crl-file=" + CRLFile(c.CA),
		"--peer-cert-file=" + peer.Profile.CertFile(),
		"--peer-key-file=" + peer.Profile.KeyFile(),
		"--tls-min-version=TLS1.2",
		"--auto-compaction-mode=periodic",
		"--auto-compaction-retention=1h",
		"--feature-gates=InitialCorruptCheck=true",
		"--log-level=warn",
	}
	if c.CA == CAEtcdOverlay {
		// What is declared of pods changes as a whole or not at all.
		args = append(args, fmt.Sprintf("--max-txn-ops=%d", OverlayTransaction), fmt.Sprintf("--max-request-bytes=%d", 8<<20))
	}
	if len(members) == 1 {
		// Nobody to wait for: elect at once.
		args = append(args, "--heartbeat-interval=10", "--election-timeout=100")
	} else {
		// One that has lost its disk has to ask the others before it starts.
		args = append([]string{Bin + "/ashlar", "etcd-member", c.Name, "--others=" + strings.Join(others, ","), "--"}, args...)
	}
	return Unit{
		Name:         c.UnitName(),
		Args:         args,
		Files:        []File{caFile(d, c.CA), crlFile(d, c.CA)},
		Certificates: []Certificate{server, peer},
		Ready:        Probe{URL: fmt.Sprintf("http://127.0.0.1:%d/readyz", c.Metrics)},
		Grace:        10 * time.Second,
	}
}

// OverlayAuth is the command of the unit etcd-overlay-auth.
func OverlayAuth(d Desired) []string {
	return []string{Bin + "/ashlar", "etcd-auth", "--endpoints=" + d.EtcdEndpoints(EtcdClusters[2]), "--network=" + NetworkFile}
}

// etcdOverlayMembers gives workers that come and go what Calico must find there of each of them.
func etcdOverlayMembers(d Desired) Unit {
	root := certificate(d, CAEtcdOverlay, "root")
	return Unit{
		Name:         "etcd-overlay-members",
		Args:         append(OverlayAuth(d), "--follow"),
		Files:        []File{caFile(d, CAEtcdOverlay), networkFile(d)},
		Certificates: []Certificate{root},
		After:        []string{"etcd-overlay-auth"},
		Grace:        time.Second,
	}
}

// etcdOverlayAuth turns on etcd's own access control, so that a worker, which needs to write its addresses and
// endpoints, cannot write policy; and writes what Calico must find there, the declared policy among it.
func etcdOverlayAuth(d Desired) Unit {
	root := certificate(d, CAEtcdOverlay, "root")
	return Unit{
		Name:         "etcd-overlay-auth",
		Args:         OverlayAuth(d),
		Files:        []File{caFile(d, CAEtcdOverlay), networkFile(d)},
		Certificates: []Certificate{root},
		After:        []string{"etcd-overlay"},
		Once:         true,
	}
}
