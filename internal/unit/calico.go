package unit

import (
	"fmt"
	"time"
)

// podMTU leaves room for VXLAN's 50 bytes.
const podMTU = 1450

// The CNI plugins, and their configuration: in memory, so that after a reboot the node waits for felix again.
const (
	cniBin  = "/opt/ashlar/bundle/cni"
	cniConf = "/run/cni/net.d"
)

// calicoEtcd is how Calico's programs find their datastore: the overlay's own etcd.
func calicoEtcd(d Desired, client Certificate) []string {
	return []string{
		"DATASTORE_TYPE=etcdv3",
		"ETCD_ENDPOINTS=" + d.EtcdEndpoints(EtcdClusters[2]),
		"ETCD_CA_CERT_FILE=" + CAFile(CAEtcdOverlay),
		"ETCD_CERT_FILE=" + client.Profile.CertFile(),
		"ETCD_KEY_FILE=" + client.Profile.KeyFile(),
	}
}

func calicoNodeEnv(d Desired, client Certificate) []string {
	return append(calicoEtcd(d, client),
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"NODENAME="+d.Self,
		"CALICO_K8S_NODE_REF="+d.Self, // so that kube-controllers forgets the machine, and frees its addresses, with its node
		"FELIX_FELIXHOSTNAME="+d.Self, // felix does not read NODENAME
		"IP="+d.Me().Address.String()+"/32",
		"IP6=none",
		"CALICO_NETWORKING_BACKEND=vxlan",
		"CALICO_MANAGE_CNI=false",
		"CALICO_DISABLE_FILE_LOGGING=true",
		"NO_DEFAULT_POOLS=true", // the etcd machines make the pool (etcd-overlay-auth): a worker may not
		"CALICO_STARTUP_LOGLEVEL=WARNING",
		"FELIX_LOGSEVERITYSCREEN=warning",
		"FELIX_LOGSEVERITYFILE=none",
		"FELIX_LOGSEVERITYSYS=none",
		"FELIX_IPTABLESBACKEND=NFT", // the machine's iptables is the nftables one
		"FELIX_IPV6SUPPORT=false",
		"FELIX_HEALTHENABLED=true",
		"FELIX_HEALTHHOST=127.0.0.1",
		"FELIX_USAGEREPORTINGENABLED=false",
		"FELIX_REPORTINGINTERVALSECS=0",
		"FELIX_ENDPOINTREPORTINGENABLED=false",
		"FELIX_XDPENABLED=false",
		// The CNI plugin waits for this file, so that a pod starts only when its policy is in force.
		"FELIX_ENDPOINTSTATUSPATHPREFIX=/var/run/calico",
		"FELIX_DEFAULTENDPOINTTOHOSTACTION=DROP", // a pod has no business with its machine
		// Policies are for machines too. Whatever they say, felix hears of the next, and the agent of its machine.
		"FELIX_FAILSAFEINBOUNDHOSTPORTS=none",
		fmt.Sprintf("FELIX_FAILSAFEOUTBOUNDHOSTPORTS=tcp:%[1]s:%[2]d,tcp:%[1]s:%[3]d", d.MachineCIDR, EtcdClusters[2].ClientPort, PortVault),
		fmt.Sprintf("FELIX_VXLANMTU=%d", podMTU),
		fmt.Sprintf("FELIX_VXLANPORT=%d", PortVXLAN),
	)
}

// calicoWait ends when Calico's own programs, which do not wait, find what they need: the overlay's etcd prepared, and
// the machine known as a node.
func calicoWait(d Desired) Unit {
	etcd, api := certificate(d, CAEtcdOverlay, "calico-node"), certificate(d, CAKubernetes, "kubelet")
	config := kubeconfig(d, "kubelet", api)
	args := []string{Bin + "/ashlar", "calico-wait", "--endpoints=" + d.EtcdEndpoints(EtcdClusters[2]),
		"--kubeconfig=" + config.Path, "--worker=" + d.Self}
	if d.Region != "" {
		args = append(args, "--unannounced")
	}
	return Unit{
		Name:         "calico-wait",
		Args:         args,
		Files:        []File{caFile(d, CAEtcdOverlay), caFile(d, CAKubernetes), config},
		Certificates: []Certificate{etcd, api},
		Once:         true,
	}
}

// calicoAnnounced ends when what every machine has there is there for this one, of which nobody knew before it said so.
func calicoAnnounced(d Desired) Unit {
	u := calicoWait(d)
	u.Name, u.After = "calico-announced", []string{"calico-startup"}
	u.Args = u.Args[:len(u.Args)-1]
	return u
}

func calicoStartup(d Desired) Unit {
	client := certificate(d, CAEtcdOverlay, "calico-node")
	return Unit{
		Name:         "calico-startup",
		Args:         []string{Bin + "/calico-node", "-startup"},
		Env:          calicoNodeEnv(d, client),
		Files:        []File{caFile(d, CAEtcdOverlay), {Path: "/var/lib/calico/.keep", Mode: 0o600}},
		Certificates: []Certificate{client},
		After:        []string{"calico-wait"},
		Once:         true,
	}
}

// calicoTunnel gives the machine its address inside the overlay.
func calicoTunnel(d Desired) Unit {
	client := certificate(d, CAEtcdOverlay, "calico-node")
	after := "calico-startup"
	if d.Region != "" {
		after = "calico-announced"
	}
	return Unit{
		Name:         "calico-tunnel",
		Args:         []string{Bin + "/calico-node", "-allocate-tunnel-addrs", "-allocate-tunnel-addrs-run-once"},
		Env:          calicoNodeEnv(d, client),
		Files:        []File{caFile(d, CAEtcdOverlay)},
		Certificates: []Certificate{client},
		After:        []string{after},
		Once:         true,
	}
}

// calicoNode is felix: it turns policy into rules of this machine's kernel.
func calicoNode(d Desired) Unit {
	client := certificate(d, CAEtcdOverlay, "calico-node")
	return Unit{
		Name:         "calico-node",
		Args:         []string{Bin + "/calico-node", "-felix"},
		Env:          calicoNodeEnv(d, client),
		Files:        []File{caFile(d, CAEtcdOverlay), {Path: "/run/calico/endpoint-status/.keep", Mode: 0o600}},
		Certificates: []Certificate{client},
		After:        []string{"calico-tunnel"},
		Ready:        Probe{URL: "http://127.0.0.1:9099/readiness"},
		Grace:        5 * time.Second,
	}
}

// ShortcutSocket is where the shortcut says what it does.
const ShortcutSocket = "/run/ashlar/shortcut.sock"

// shortcut takes packets of established connections between pods past the rules, which would let them through.
func shortcut(d Desired) Unit {
	return Unit{
		Name:  "shortcut",
		Args:  []string{Bin + "/ashlar", "shortcut", "--pods=" + d.PodCIDR},
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, // nft
		After: []string{"calico-node"},
		Ready: Probe{URL: "unix://" + ShortcutSocket},
		Grace: 5 * time.Second,
	}
}

// cni makes the node Ready: its configuration appears only once felix enforces policy, so that no pod ever
// starts on a machine that would let it talk to all.
func cni(d Desired) Unit {
	etcd, api := certificate(d, CAEtcdOverlay, "calico-node"), certificate(d, CAKubernetes, "calico-cni")
	config := kubeconfig(d, "calico-cni", api)
	return Unit{
		Name: "cni",
		Files: []File{caFile(d, CAEtcdOverlay), caFile(d, CAKubernetes), config,
			{Path: cniConf + "/10-calico.conflist", Mode: 0o600, Content: fmt.Sprintf(`{
  "name": "calico", "cniVersion": "0.3.1",
  "plugins": [
    {"type": "calico", "log_level": "warning", "log_file_path": "", "nodename": %[1]q, "mtu": %[2]d,
     "policy_setup_timeout_seconds": 10, "endpoint_status_dir": "/var/run/calico/endpoint-status",
     "datastore_type": "etcdv3", "etcd_endpoints": %[3]q,
     "etcd_ca_cert_file": %[4]q, "etcd_cert_file": %[5]q, "etcd_key_file": %[6]q,
     "ipam": {"type": "calico-ipam"}, "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": %[7]q}},
    {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}
  ]
}
`, d.Self, podMTU, d.EtcdEndpoints(EtcdClusters[2]), CAFile(CAEtcdOverlay), etcd.Profile.CertFile(), etcd.Profile.KeyFile(), config.Path)}},
		Certificates: []Certificate{etcd, api},
		After:        []string{"calico-node", "image-pause"},
	}
}

// calicoControllers copies NetworkPolicies, namespaces and ServiceAccounts into the overlay's etcd.
func calicoControllers(d Desired) Unit {
	etcd, api := certificate(d, CAEtcdOverlay, "calico-kube-controllers"), certificate(d, CAKubernetes, "calico-kube-controllers")
	config := kubeconfig(d, "calico-kube-controllers", api)
	return Unit{
		Name: "calico-kube-controllers",
		Args: []string{Bin + "/kube-controllers"},
		Env: append(calicoEtcd(d, etcd),
			"ENABLED_CONTROLLERS=policy,namespace,serviceaccount,workloadendpoint,node",
			"KUBECONFIG="+config.Path,
			"COMPACTION_PERIOD=0", // etcd compacts itself
			// Zero, the default where the datastore has a configuration, would also skip what exists at its start.
			"RECONCILER_PERIOD=1m",
			"HEALTH_ENABLED=false", "SYNC_NODE_LABELS=false", "AUTO_HOST_ENDPOINTS=disabled",
			"LOG_LEVEL=warning"),
		Files:        []File{caFile(d, CAEtcdOverlay), caFile(d, CAKubernetes), config},
		Certificates: []Certificate{etcd, api},
		After:        []string{"kube-apiserver"},
		Wait:         []Probe{d.apiReady()},
		Grace:        5 * time.Second,
	}
}
