package unit

import (
	"fmt"
	"time"
)

const containerdSocket = "/run/containerd/containerd.sock"

// PauseImage holds the namespaces of every pod.
const PauseImage = "ashlar.dev/pause:3.10"

func worker(d Desired) []Unit {
	units := []Unit{containerd(d), ceilings(d), reserve(), image("pause"), image("coredns")}
	if !d.Complete() {
		return units
	}
	units = append(units, kubelet(d), kubeProxy(d), calicoWait(d), calicoStartup(d))
	if d.Region != "" {
		units = append(units, calicoAnnounced(d))
	}
	return append(units, calicoTunnel(d), calicoNode(d), shortcut(d), cni(d))
}

// sparing has pods killed first: whatever they do to the machine's memory, what runs and connects them goes on.
func sparing(units []Unit) []Unit {
	for i, u := range units {
		if !u.Once && len(u.Args) > 0 {
			units[i].OOMScore = killedLast
		}
	}
	return units
}

// killedLast is a process that the kernel kills for want of memory only when there is nobody else.
const killedLast = -999

// systemd says whether pods' groups are made by systemd, which has all others on the machines of a cloud.
func (d Desired) systemd() bool { return d.Region != "" }

func (d Desired) cgroupDriver() string {
	if d.systemd() {
		return "systemd"
	}
	return "cgroupfs"
}

func containerd(d Desired) Unit {
	return Unit{
		Name: "containerd",
		Args: []string{Bin + "/containerd", "--config=/etc/containerd/config.toml"},
		Env:  []string{"PATH=" + Bin + ":/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []File{{Path: "/etc/containerd/config.toml", Mode: 0o600, Content: fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = %q

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = %q

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = false
  enable_selinux = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%q]
    conf_dir = %q
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = %q
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = %q
      SystemdCgroup = %t
`, containerdSocket, PauseImage, cniBin, cniConf, containerSpec, Bin+"/runc", d.systemd()) + nri()}, containerFile()},
		Ready: Probe{URL: "unix://" + containerdSocket},
		// Pods outlive a restart of containerd: its shims are not its children.
		Grace: 5 * time.Second,
	}
}

// image puts an image that every node needs into containerd. There is no registry: images are part of the bundle.
func image(name string) Unit {
	return Unit{
		Name:  "image-" + name,
		Args:  []string{Bin + "/ctr", "--namespace=k8s.io", "images", "import", "--local", ImagesDir + "/" + name + ".tar"},
		After: []string{"containerd"},
		Once:  true,
	}
}

func kubelet(d Desired) Unit {
	client, serving := certificate(d, CAKubernetes, "kubelet"), certificate(d, CAKubernetes, "kubelet-serving")
	config := kubeconfig(d, "kubelet", client)
	return Unit{
		Name: "kubelet",
		Args: []string{
			Bin + "/kubelet",
			"--config=/etc/kubernetes/kubelet.yaml",
			"--config-dir=" + ReserveDir,
			"--kubeconfig=" + config.Path,
			"--hostname-override=" + d.Self,
			"--node-ip=" + d.Me().Address.String(),
		},
		Env: []string{"PATH=" + Bin + ":/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []File{
			caFile(d, CAKubernetes), config,
			{Path: "/etc/kubernetes/kubelet.yaml", Mode: 0o600, Content: fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true, cacheTTL: 10s}
  x509: {clientCAFile: %[1]s}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 2s, cacheUnauthorizedTTL: 2s}}
address: %[2]s
readOnlyPort: 0
tlsCertFile: %[3]s
tlsPrivateKeyFile: %[4]s
tlsMinVersion: VersionTLS12
tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]
featureGates: {ReloadKubeletServerCertificateFile: true}
containerRuntimeEndpoint: unix://%[5]s
cgroupDriver: %[8]s
failCgroupV1: false
failSwapOn: false
clusterDNS: [%[6]s]
clusterDomain: %[7]q
resolvConf: /etc/resolv.conf
seccompDefault: true
podPidsLimit: 4096
cpuCFSQuotaPeriod: 20ms
serializeImagePulls: false
makeIPTablesUtilChains: true
streamingConnectionIdleTimeout: 5m
eventRecordQPS: 50
imageGCHighThresholdPercent: 100
enableDebuggingHandlers: true
enableProfilingHandler: false
enableDebugFlagsHandler: false
`, CAFile(CAKubernetes), d.Me().Address, serving.Profile.CertFile(), serving.Profile.KeyFile(), containerdSocket, d.DNSServiceIP(), d.ClusterDomain, d.cgroupDriver())},
		},
		Certificates: []Certificate{client, serving},
		After:        []string{"containerd", "reserve"},
		Wait:         []Probe{d.apiReady()},
		Ready:        Probe{URL: "http://127.0.0.1:10248/healthz"},
		Grace:        5 * time.Second,
	}
}

func kubeProxy(d Desired) Unit {
	client := certificate(d, CAKubernetes, "kube-proxy")
	config := kubeconfig(d, "kube-proxy", client)
	return Unit{
		Name: "kube-proxy",
		Args: []string{Bin + "/kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml"},
		Env:  []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []File{
			caFile(d, CAKubernetes), config,
			{Path: "/etc/kubernetes/kube-proxy.yaml", Mode: 0o600, Content: fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: %[1]s
clientConnection: {kubeconfig: %[2]s}
hostnameOverride: %[3]q
bindAddress: %[4]s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nodePortAddresses: [primary]
conntrack: {maxPerCore: 0, min: 0}
nftables: {minSyncPeriod: 100ms}
`, d.PodCIDR, config.Path, d.Self, d.Me().Address)},
		},
		Certificates: []Certificate{client},
		Wait:         []Probe{d.apiReady()},
		Ready:        Probe{URL: "http://127.0.0.1:10256/healthz"},
		Grace:        5 * time.Second,
	}
}
