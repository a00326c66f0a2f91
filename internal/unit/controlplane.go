package unit

import (
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Cipher suites with forward secrecy and authenticated encryption only (CIS 1.2.29, 4.2.12).
const cipherSuites = "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384,TLS_CHACHA20_POLY1305_SHA256," +
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"

// APIReadyPath says whether an API server can serve. One whose Vault is away can: it has the keys it needs in memory,
// and a cluster must not end with its Vault.
const APIReadyPath = "/readyz?exclude=kms-providers"

const kmsSocket = "/run/ashlar/kms.sock"

func controlPlane(d Desired) []Unit {
	if !d.Complete() {
		return nil
	}
	return []Unit{kms(d), webhook(d), apiServer(d), controllerManager(d), scheduler(d), calicoControllers(d), baselineController(d)}
}

// kms lets the API server encrypt what it stores with a key that never leaves Vault.
func kms(d Desired) Unit {
	return Unit{
		Name:  "kms",
		Args:  []string{Bin + "/ashlar", "kms", "--socket=" + kmsSocket},
		Files: []File{caFile(d, CAVault)},
		Ready: Probe{URL: "unix://" + kmsSocket},
		Grace: 2 * time.Second,
	}
}

func apiServer(d Desired) Unit {
	serving := certificate(d, CAKubernetes, "kube-apiserver")
	kubelet := certificate(d, CAKubernetes, "kube-apiserver-kubelet-client")
	etcd := certificate(d, CAEtcdKubernetes, "kube-apiserver")
	proxy := certificate(d, CAFrontProxy, "front-proxy-client")
	k8s, events := EtcdClusters[0], EtcdClusters[1]
	tokens := serviceAccountKeys(d)
	args := []string{
		Bin + "/kube-apiserver",
		// Pods, too, find the API at the load balancer and nowhere else.
		"--advertise-address=" + d.WithRole(v1alpha1.RoleLB)[0].Address.String(),
		"--bind-address=" + d.Me().Address.String(),
		fmt.Sprintf("--secure-port=%d", PortAPIServer),
		"--allow-privileged=true", // who may is decided by admission, not by this switch
		"--authentication-config=" + AuthenticationFile,
		"--authentication-token-webhook-config-file=" + webhookConfig(d, "/authenticate").Path,
		"--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=5s",
		"--authorization-config=" + AuthorizationFile,
		"--audit-policy-file=/etc/kubernetes/audit-policy.yaml",
		"--audit-log-path=/var/log/kubernetes/audit.log",
		"--audit-log-maxage=30", "--audit-log-maxbackup=10", "--audit-log-maxsize=100", // CIS 1.2.16–19
		"--client-ca-file=" + CAFile(CAKubernetes),
		"--enable-admission-plugins=NodeRestriction,DenyServiceExternalIPs",
		"--encryption-provider-config=/etc/kubernetes/encryption.yaml",
		"--etcd-cafile=" + CAFile(CAEtcdKubernetes),
		"--etcd-certfile=" + etcd.Profile.CertFile(),
		"--etcd-keyfile=" + etcd.Profile.KeyFile(),
		"--etcd-servers=" + d.EtcdEndpoints(k8s),
		"--etcd-servers-overrides=/events#" + strings.ReplaceAll(d.EtcdEndpoints(events), ",", ";"),
		"--kubelet-certificate-authority=" + CAFile(CAKubernetes),
		"--kubelet-client-certificate=" + kubelet.Profile.CertFile(),
		"--kubelet-client-key=" + kubelet.Profile.KeyFile(),
		"--kubelet-preferred-address-types=Hostname",
		"--proxy-client-cert-file=" + proxy.Profile.CertFile(),
		"--proxy-client-key-file=" + proxy.Profile.KeyFile(),
		"--requestheader-client-ca-file=" + CAFile(CAFrontProxy),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=https://kubernetes.default.svc." + d.ClusterDomain,
		"--service-account-signing-key-file=" + tokens.signing,
		"--service-account-lookup=true",
		"--service-account-max-token-expiration=1h",
		"--service-account-extend-token-expiration=false",
		"--service-cluster-ip-range=" + d.ServiceCIDR,
		"--tls-cert-file=" + serving.Profile.CertFile(),
		"--tls-private-key-file=" + serving.Profile.KeyFile(),
		"--tls-min-version=VersionTLS12",
		"--tls-cipher-suites=" + cipherSuites,
		"--profiling=false",
		// One that stops says so first, and goes on until the load balancer has noticed.
		"--shutdown-delay-duration=" + drain.String(),
		// Then watches end, which would otherwise keep it for a minute; their clients go on elsewhere from where they were.
		"--shutdown-watch-termination-grace-period=2s",
	}
	for _, file := range tokens.trusted {
		args = append(args, "--service-account-key-file="+file)
	}
	var wait []Probe
	// Of several members none is waited for: any may be lost.
	if members := d.WithRole(v1alpha1.RoleEtcd); len(members) == 1 {
		wait = []Probe{
			{URL: fmt.Sprintf("tcp://%s:%d", members[0].Name, k8s.ClientPort)},
			{URL: fmt.Sprintf("tcp://%s:%d", members[0].Name, events.ClientPort)}}
	}
	return Unit{
		Name: "kube-apiserver",
		Args: args,
		Files: []File{
			caFile(d, CAKubernetes), caFile(d, CAEtcdKubernetes), caFile(d, CAFrontProxy),
			{Path: AuthenticationFile, Mode: 0o600, Content: authenticationConfig(d), Live: true},
			{Path: AuthorizationFile, Mode: 0o600, Content: authorizationConfig(d), Live: true},
			webhookConfig(d, "/authenticate"), webhookConfig(d, "/authorize/abac"), webhookConfig(d, "/authorize/shadow"), webhookConfig(d, "/authorize/revoked"),
			{Path: "/etc/kubernetes/audit-policy.yaml", Mode: 0o600, Content: auditPolicy},
			{Path: "/etc/kubernetes/encryption.yaml", Mode: 0o600, Content: encryptionConfig},
			{Path: "/var/log/kubernetes/.keep", Mode: 0o600},
		},
		Certificates: []Certificate{serving, kubelet, etcd, proxy},
		Secrets:      tokens.secrets,
		After:        []string{"kms", "webhook"},
		Wait:         wait,
		Ready:        Probe{URL: fmt.Sprintf("https://%s:%d%s", d.Self, PortAPIServer, APIReadyPath), CA: CAKubernetes},
		Grace:        drain + 20*time.Second,
	}
}

func controllerManager(d Desired) Unit {
	client, serving := certificate(d, CAKubernetes, "kube-controller-manager"), certificate(d, CAKubernetes, "control-plane")
	config := kubeconfig(d, "kube-controller-manager", client)
	args := []string{
		Bin + "/kube-controller-manager",
		"--kubeconfig=" + config.Path,
		"--authentication-kubeconfig=" + config.Path,
		"--authorization-kubeconfig=" + config.Path,
		"--client-ca-file=" + CAFile(CAKubernetes),
		"--requestheader-client-ca-file=" + CAFile(CAFrontProxy),
		"--bind-address=127.0.0.1",
		"--tls-cert-file=" + serving.Profile.CertFile(),
		"--tls-private-key-file=" + serving.Profile.KeyFile(),
		"--tls-min-version=VersionTLS12",
		"--tls-cipher-suites=" + cipherSuites,
		"--use-service-account-credentials=true",
		"--root-ca-file=" + CAFile(CAKubernetes),
		"--cluster-cidr=" + d.PodCIDR,
		"--service-cluster-ip-range=" + d.ServiceCIDR,
		"--allocate-node-cidrs=false", // Calico's IPAM does
		// Vault is the only one to sign certificates. Without a signing key there are no long-lived tokens either.
		"--controllers=*,-certificatesigningrequest-signing-controller,-certificatesigningrequest-approving-controller," +
			"-certificatesigningrequest-cleaner-controller,-legacy-serviceaccount-token-cleaner-controller",
		"--leader-elect=true",
		"--leader-elect-retry-period=1s",
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--profiling=false",
		"--terminated-pod-gc-threshold=1000",
	}
	return Unit{
		Name:         "kube-controller-manager",
		Args:         args,
		Files:        []File{caFile(d, CAKubernetes), caFile(d, CAFrontProxy), config},
		Certificates: []Certificate{client, serving},
		After:        []string{"kube-apiserver"},
		Wait:         []Probe{d.apiReady()},
		Ready:        Probe{URL: "https://localhost:10257/healthz", CA: CAKubernetes},
		Grace:        5 * time.Second,
	}
}

func scheduler(d Desired) Unit {
	client, serving := certificate(d, CAKubernetes, "kube-scheduler"), certificate(d, CAKubernetes, "control-plane")
	config := kubeconfig(d, "kube-scheduler", client)
	return Unit{
		Name: "kube-scheduler",
		Args: []string{
			Bin + "/kube-scheduler",
			"--kubeconfig=" + config.Path,
			"--authentication-kubeconfig=" + config.Path,
			"--authorization-kubeconfig=" + config.Path,
			"--client-ca-file=" + CAFile(CAKubernetes),
			"--requestheader-client-ca-file=" + CAFile(CAFrontProxy),
			"--bind-address=127.0.0.1",
			"--tls-cert-file=" + serving.Profile.CertFile(),
			"--tls-private-key-file=" + serving.Profile.KeyFile(),
			"--tls-min-version=VersionTLS12",
			"--tls-cipher-suites=" + cipherSuites,
			"--leader-elect=true",
			"--leader-elect-retry-period=1s",
			"--profiling=false",
		},
		Files:        []File{caFile(d, CAKubernetes), caFile(d, CAFrontProxy), config},
		Certificates: []Certificate{client, serving},
		After:        []string{"kube-apiserver"},
		Wait:         []Probe{d.apiReady()},
		Ready:        Probe{URL: "https://localhost:10259/healthz", CA: CAKubernetes},
		Grace:        5 * time.Second,
	}
}

// SealedPrefix begins what an API server stores sealed.
const SealedPrefix = "k8s:enc:kms:v2:vault-transit:"

// Secrets and ConfigMaps are sealed by Vault's transit engine. The identity provider, last, only reads what
// was written before encryption was on; it never writes.
const encryptionConfig = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps]
  providers:
  - kms: {apiVersion: v2, name: vault-transit, endpoint: "unix://` + kmsSocket + `", timeout: 3s}
  - identity: {}
`

// Who did what, from where. Bodies of secrets, tokens and the like are never recorded; reads of the health
// endpoints, and the watches and leases of nodes and Kubernetes' own components, are not worth a line.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources:
  - {group: "", resources: [secrets, configmaps, serviceaccounts/token, pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy, nodes/proxy]}
  - {group: authentication.k8s.io, resources: [tokenreviews]}
  - {group: certificates.k8s.io, resources: [certificatesigningrequests]}
- level: None
  nonResourceURLs: ["/livez*", "/readyz*", "/healthz*", "/version"]
# What ServiceAccounts and Ashlar's own components ask for is what their roles are checked against.
- level: None
  userGroups: ["ashlar:baseline-controllers"]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
  userGroups: ["system:serviceaccounts", "ashlar:calico-cni", "ashlar:calico-kube-controllers", "ashlar:baseline-controllers"]
- level: None
  userGroups: ["system:nodes"]
  verbs: [get, list, watch]
- level: None
  users: ["system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "system:apiserver"]
  verbs: [get, list, watch]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: None
  resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]
- level: Metadata
  verbs: [get, list, watch]
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources: [{group: rbac.authorization.k8s.io}, {group: admissionregistration.k8s.io}, {group: networking.k8s.io}]
- level: Metadata
`
