package unit_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

const (
	authenticationYAML = "/etc/kubernetes/authentication.yaml"
	authorizationYAML  = "/etc/kubernetes/authorization.yaml"
	encryptionYAML     = "/etc/kubernetes/encryption.yaml"
	auditPolicyYAML    = "/etc/kubernetes/audit-policy.yaml"
	kubeletYAML        = "/etc/kubernetes/kubelet.yaml"
	kubeProxyYAML      = "/etc/kubernetes/kube-proxy.yaml"
)

var recommendations = slices.Concat(apiServerCIS, controllerManagerCIS, schedulerCIS, etcdCIS, loggingCIS, kubeletCIS, kubeProxyCIS, fileCIS)

var apiServerCIS = []recommendation{
	{id: "1.2.1", process: "kube-apiserver", what: "no anonymous requests",
		instead: "they reach the health endpoints, which load balancers ask, and nothing else",
		met:     all(unset("--anonymous-auth"), anonymousSeesHealth), broken: edited(authenticationYAML, "/livez", "/api")},
	{id: "1.2.2", process: "kube-apiserver", what: "no static tokens",
		met: unset("--token-auth-file"), broken: with("--token-auth-file", "/etc/tokens.csv")},
	{id: "1.2.3", process: "kube-apiserver", what: "external addresses of Services are refused",
		met: includes("--enable-admission-plugins", "DenyServiceExternalIPs"), broken: with("--enable-admission-plugins", "NodeRestriction")},
	{id: "1.2.4", process: "kube-apiserver", what: "a client certificate for kubelets",
		met: issued("--kubelet-client-certificate", "--kubelet-client-key"), broken: without("--kubelet-client-key")},
	{id: "1.2.5", process: "kube-apiserver", what: "kubelets are verified",
		met: is("--kubelet-certificate-authority", unit.CAFile(unit.CAKubernetes)), broken: without("--kubelet-certificate-authority")},
	{id: "1.2.6", process: "kube-apiserver", what: "not everything is allowed",
		met: authorizers(func(types []string) bool { return len(types) > 0 && !slices.Contains(types, "AlwaysAllow") }), broken: edited(authorizationYAML, "type: RBAC", "type: AlwaysAllow")},
	{id: "1.2.7", process: "kube-apiserver", what: "nodes have a mode of their own",
		met: authorizers(func(types []string) bool { return slices.Contains(types, "Node") }), broken: edited(authorizationYAML, "type: Node", "type: Webhook")},
	{id: "1.2.8", process: "kube-apiserver", what: "RBAC",
		met: authorizers(func(types []string) bool { return slices.Contains(types, "RBAC") }), broken: edited(authorizationYAML, "type: RBAC", "type: ABAC")},
	{id: "1.2.9", process: "kube-apiserver", what: "EventRateLimit",
		instead: "its API is still v1alpha1; a flood of events fills an etcd that holds nothing else",
		met:     eventsApart, broken: without("--etcd-servers-overrides")},
	{id: "1.2.10", process: "kube-apiserver", what: "no AlwaysAdmit",
		met: excludes("--enable-admission-plugins", "AlwaysAdmit"), broken: with("--enable-admission-plugins", "NodeRestriction,AlwaysAdmit")},
	{id: "1.2.11", process: "kubelet", what: "AlwaysPullImages",
		instead: "images of Ashlar's own come from the bundle, not from a registry; of others the kubelet itself asks whether a pod may have " +
			"what was pulled for another (KubeletEnsureSecretPulledImages, on since 1.35)",
		met: all(
			setting(kubeletYAML, "imagePullCredentialsVerificationPolicy", "--image-pull-credentials-verification-policy", "set to verify", func(v any) bool { return v != "NeverVerify" }),
			setting(kubeletYAML, "featureGates.KubeletEnsureSecretPulledImages", "--feature-gates", "on", func(v any) bool { return v != false })),
		broken: edited(kubeletYAML, "featureGates: {", "featureGates: {KubeletEnsureSecretPulledImages: false, ")},
	{id: "1.2.12", process: "kube-apiserver", what: "admission of ServiceAccounts",
		met: unsetOr("--disable-admission-plugins", excludes("--disable-admission-plugins", "ServiceAccount")), broken: with("--disable-admission-plugins", "ServiceAccount")},
	{id: "1.2.13", process: "kube-apiserver", what: "admission looks at namespaces' lives",
		met: unsetOr("--disable-admission-plugins", excludes("--disable-admission-plugins", "NamespaceLifecycle")), broken: with("--disable-admission-plugins", "NamespaceLifecycle")},
	{id: "1.2.14", process: "kube-apiserver", what: "nodes change only what is theirs",
		met: includes("--enable-admission-plugins", "NodeRestriction"), broken: with("--enable-admission-plugins", "DenyServiceExternalIPs")},
	{id: "1.2.15", process: "kube-apiserver", what: "no profiling", met: is("--profiling", "false"), broken: without("--profiling")},
	{id: "1.2.16", process: "kube-apiserver", what: "an audit log", met: set("--audit-log-path"), broken: without("--audit-log-path")},
	{id: "1.2.17", process: "kube-apiserver", what: "audit logs are kept for 30 days", met: atLeast("--audit-log-maxage", 30), broken: with("--audit-log-maxage", "29")},
	{id: "1.2.18", process: "kube-apiserver", what: "10 audit logs are kept", met: atLeast("--audit-log-maxbackup", 10), broken: with("--audit-log-maxbackup", "9")},
	{id: "1.2.19", process: "kube-apiserver", what: "audit logs of 100 MB", met: atLeast("--audit-log-maxsize", 100), broken: without("--audit-log-maxsize")},
	{id: "1.2.20", process: "kube-apiserver", what: "requests end: by default after a minute",
		met: unsetOr("--request-timeout", value("--request-timeout", "at most 5m", func(v string) bool {
			d, err := time.ParseDuration(v)
			return err == nil && d > 0 && d <= 5*time.Minute
		})), broken: with("--request-timeout", "1h")},
	{id: "1.2.21", process: "kube-apiserver", what: "tokens of deleted ServiceAccounts are refused",
		met: is("--service-account-lookup", "true"), broken: with("--service-account-lookup", "false")},
	{id: "1.2.22", process: "kube-apiserver", what: "ServiceAccounts have a key of their own",
		met: is("--service-account-key-file", unit.ServiceAccountPublicFile), broken: without("--service-account-key-file")},
	{id: "1.2.23", process: "kube-apiserver", what: "a client certificate for etcd", met: issued("--etcd-certfile", "--etcd-keyfile"), broken: without("--etcd-certfile")},
	{id: "1.2.24", process: "kube-apiserver", what: "a serving certificate", met: issued("--tls-cert-file", "--tls-private-key-file"), broken: without("--tls-cert-file")},
	{id: "1.2.25", process: "kube-apiserver", what: "clients are verified", met: is("--client-ca-file", unit.CAFile(unit.CAKubernetes)), broken: without("--client-ca-file")},
	{id: "1.2.26", process: "kube-apiserver", what: "etcd is verified", met: is("--etcd-cafile", unit.CAFile(unit.CAEtcdKubernetes)), broken: without("--etcd-cafile")},
	{id: "1.2.27", process: "kube-apiserver", what: "encryption at rest", met: is("--encryption-provider-config", encryptionYAML), broken: without("--encryption-provider-config")},
	{id: "1.2.28", process: "kube-apiserver", what: "secrets are written by a real encryption provider", met: secretsAreSealed, broken: edited(encryptionYAML, "providers:\n", "providers:\n  - identity: {}\n")},
	{id: "1.2.29", process: "kube-apiserver", what: "strong ciphers",
		met:    all(value("--tls-cipher-suites", "strong suites only", func(v string) bool { return strong(strings.Split(v, ",")...) }), is("--tls-min-version", "VersionTLS12")),
		broken: with("--tls-cipher-suites", "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA")},
	{id: "1.2.30", process: "kube-apiserver", what: "tokens' lives are not extended",
		met: is("--service-account-extend-token-expiration", "false"), broken: without("--service-account-extend-token-expiration")},
}

var controllerManagerCIS = []recommendation{
	{id: "1.3.1", process: "kube-controller-manager", what: "terminated pods are collected", met: atLeast("--terminated-pod-gc-threshold", 1), broken: with("--terminated-pod-gc-threshold", "0")},
	{id: "1.3.2", process: "kube-controller-manager", what: "no profiling", met: is("--profiling", "false"), broken: without("--profiling")},
	{id: "1.3.3", process: "kube-controller-manager", what: "each controller has its own credentials", met: is("--use-service-account-credentials", "true"), broken: without("--use-service-account-credentials")},
	{id: "1.3.4", process: "kube-controller-manager", what: "a key to sign ServiceAccount tokens",
		instead: "it has none, and so cannot make tokens that never expire; the API server alone signs",
		met:     unset("--service-account-private-key-file"), broken: with("--service-account-private-key-file", unit.ServiceAccountKeyFile)},
	{id: "1.3.5", process: "kube-controller-manager", what: "pods can verify the API", met: is("--root-ca-file", unit.CAFile(unit.CAKubernetes)), broken: without("--root-ca-file")},
	{id: "1.3.6", process: "kube-controller-manager", what: "rotation of kubelets' serving certificates is not switched off",
		met: unsetOr("--feature-gates", excludes("--feature-gates", "RotateKubeletServerCertificate=false")), broken: with("--feature-gates", "RotateKubeletServerCertificate=false")},
	{id: "1.3.7", process: "kube-controller-manager", what: "listens on loopback", met: is("--bind-address", "127.0.0.1"), broken: with("--bind-address", "0.0.0.0")},
}

var schedulerCIS = []recommendation{
	{id: "1.4.1", process: "kube-scheduler", what: "no profiling", met: is("--profiling", "false"), broken: without("--profiling")},
	{id: "1.4.2", process: "kube-scheduler", what: "listens on loopback", met: is("--bind-address", "127.0.0.1"), broken: without("--bind-address")},
}

var etcdCIS = []recommendation{
	{id: "2.1", process: "etcd", what: "a serving certificate", met: issued("--cert-file", "--key-file"), broken: without("--cert-file")},
	{id: "2.2", process: "etcd", what: "clients need a certificate", met: all(is("--client-cert-auth", "true"), set("--trusted-ca-file")), broken: without("--client-cert-auth")},
	{id: "2.3", process: "etcd", what: "no certificates that etcd signs itself", met: unsetOr("--auto-tls", is("--auto-tls", "false")), broken: with("--auto-tls", "true")},
	{id: "2.4", process: "etcd", what: "certificates between members", met: issued("--peer-cert-file", "--peer-key-file"), broken: without("--peer-key-file")},
	{id: "2.5", process: "etcd", what: "members need a certificate", met: all(is("--peer-client-cert-auth", "true"), set("--peer-trusted-ca-file")), broken: with("--peer-client-cert-auth", "false")},
	{id: "2.6", process: "etcd", what: "no certificates between members that etcd signs itself", met: unsetOr("--peer-auto-tls", is("--peer-auto-tls", "false")), broken: with("--peer-auto-tls", "true")},
	{id: "2.7", process: "etcd", what: "a CA of etcd's own", met: etcdCA, broken: with("--trusted-ca-file", unit.CAFile(unit.CAKubernetes))},
}

var loggingCIS = []recommendation{
	{id: "3.2.1", process: "kube-apiserver", what: "an audit policy", met: is("--audit-policy-file", auditPolicyYAML), broken: without("--audit-policy-file")},
	{id: "3.2.2", process: "kube-apiserver", what: "the audit policy covers what matters", met: auditsWhatMatters, broken: edited(auditPolicyYAML, "level: Metadata", "level: None")},
}

var kubeletCIS = []recommendation{
	{id: "4.2.1", process: "kubelet", what: "no anonymous requests",
		met: inKubelet("authentication.anonymous.enabled", "--anonymous-auth", false), broken: edited(kubeletYAML, "anonymous: {enabled: false}", "anonymous: {enabled: true}")},
	{id: "4.2.2", process: "kubelet", what: "not everything is allowed",
		met: inKubelet("authorization.mode", "--authorization-mode", "Webhook"), broken: edited(kubeletYAML, "mode: Webhook", "mode: AlwaysAllow")},
	{id: "4.2.3", process: "kubelet", what: "clients are verified",
		met: inKubelet("authentication.x509.clientCAFile", "--client-ca-file", unit.CAFile(unit.CAKubernetes)), broken: edited(kubeletYAML, "clientCAFile", "other")},
	{id: "4.2.4", process: "kubelet", what: "no read-only port", met: inKubelet("readOnlyPort", "--read-only-port", 0.0), broken: edited(kubeletYAML, "readOnlyPort: 0", "readOnlyPort: 10255")},
	{id: "4.2.5", process: "kubelet", what: "idle streams end",
		met: setting(kubeletYAML, "streamingConnectionIdleTimeout", "--streaming-connection-idle-timeout", "more than 0", func(v any) bool {
			d, err := time.ParseDuration(fmt.Sprint(v))
			return err == nil && d > 0
		}), broken: edited(kubeletYAML, "streamingConnectionIdleTimeout: 5m", "streamingConnectionIdleTimeout: 0s")},
	{id: "4.2.6", process: "kubelet", what: "the kubelet keeps its chains of iptables",
		met: inKubelet("makeIPTablesUtilChains", "--make-iptables-util-chains", true), broken: edited(kubeletYAML, "makeIPTablesUtilChains: true", "makeIPTablesUtilChains: false")},
	{id: "4.2.7", process: "kubelet", what: "no other host name than the host's",
		instead: "a node bears the name of its machine, which is in its certificates, whatever the host is called",
		met:     namedAsInCertificates, broken: with("--hostname-override", "worker-9")},
	{id: "4.2.8", process: "kubelet", what: "events are recorded",
		met:    setting(kubeletYAML, "eventRecordQPS", "--event-qps", "at least the default, 50, or 0, which is no limit", func(v any) bool { n, ok := v.(float64); return ok && (n == 0 || n >= 50) }),
		broken: edited(kubeletYAML, "eventRecordQPS: 50", "eventRecordQPS: 1")},
	{id: "4.2.9", process: "kubelet", what: "a serving certificate", met: kubeletServing, broken: edited(kubeletYAML, "tlsPrivateKeyFile", "other")},
	{id: "4.2.10", process: "kubelet", what: "the kubelet rotates its client certificate",
		instead: "the agent renews it, with Vault, and the kubelet reads it again; it asks the API for none",
		met:     all(setting(kubeletYAML, "rotateCertificates", "--rotate-certificates", "off", func(v any) bool { return v == nil || v == false }), kubeletClient),
		broken:  edited("/etc/kubernetes/kubelet.kubeconfig", "client-certificate: "+unit.PKIDir, "client-certificate: /var/lib/kubelet/pki")},
	{id: "4.2.11", process: "kubelet", what: "the kubelet rotates its serving certificate",
		instead: "the agent renews it, with Vault, and the kubelet reads it again; it asks the API for none",
		met:     all(inKubelet("featureGates.ReloadKubeletServerCertificateFile", "--feature-gates", true), inKubelet("serverTLSBootstrap", "--rotate-server-certificates", nil), kubeletServing),
		broken:  edited(kubeletYAML, "ReloadKubeletServerCertificateFile: true", "ReloadKubeletServerCertificateFile: false")},
	{id: "4.2.12", process: "kubelet", what: "strong ciphers",
		met: all(inKubelet("tlsMinVersion", "--tls-min-version", "VersionTLS12"), setting(kubeletYAML, "tlsCipherSuites", "--tls-cipher-suites", "strong suites only", func(v any) bool {
			suites, ok := v.([]any)
			return ok && len(suites) > 0 && !slices.ContainsFunc(suites, func(s any) bool { return !strong(fmt.Sprint(s)) })
		})), broken: edited(kubeletYAML, "tlsCipherSuites: [", "tlsCipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA, ")},
	{id: "4.2.13", process: "kubelet", what: "a limit of processes for each pod",
		met:    setting(kubeletYAML, "podPidsLimit", "--pod-max-pids", "more than 0", func(v any) bool { n, ok := v.(float64); return ok && n > 0 }),
		broken: edited(kubeletYAML, "podPidsLimit: 4096", "podPidsLimit: -1")},
	{id: "4.2.14", process: "kubelet", what: "seccomp by default", met: inKubelet("seccompDefault", "--seccomp-default", true), broken: edited(kubeletYAML, "seccompDefault: true", "seccompDefault: false")},
}

var kubeProxyCIS = []recommendation{
	{id: "4.3.1", process: "kube-proxy", what: "metrics on loopback",
		met:    setting(kubeProxyYAML, "metricsBindAddress", "--metrics-bind-address", "loopback", func(v any) bool { return strings.HasPrefix(fmt.Sprint(v), "127.0.0.1:") }),
		broken: edited(kubeProxyYAML, "metricsBindAddress: 127.0.0.1", "metricsBindAddress: 0.0.0.0")},
}

// Who owns a file, and the modes of keys, is the matter of the agent; modes of the rest are in the units.
var fileCIS = []recommendation{
	only("1.1.9", "cni", "/run/cni/net.d/10-calico.conflist", 0o600),
	only("1.1.15", "kube-scheduler", "/etc/kubernetes/kube-scheduler.kubeconfig", 0o600),
	only("1.1.17", "kube-controller-manager", "/etc/kubernetes/kube-controller-manager.kubeconfig", 0o600),
	only("4.1.3", "kube-proxy", "/etc/kubernetes/kube-proxy.kubeconfig", 0o600),
	only("4.1.5", "kubelet", "/etc/kubernetes/kubelet.kubeconfig", 0o600),
	only("4.1.7", "kubelet", unit.CAFile(unit.CAKubernetes), 0o644),
	only("4.1.9", "kubelet", kubeletYAML, 0o600),
}

func only(id, process, name string, atMost fs.FileMode) recommendation {
	return recommendation{id: id, process: process, what: "mode of " + name, met: mode(name, atMost), broken: loosened(name)}
}

func inKubelet(field, flag string, want any) check {
	return setting(kubeletYAML, field, flag, fmt.Sprint(want), func(v any) bool { return v == want })
}
