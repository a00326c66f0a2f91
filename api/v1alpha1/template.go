package v1alpha1

import (
	"bytes"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

var clusterFile = template.Must(template.New("cluster.yaml").Funcs(template.FuncMap{"short": short, "about": about}).Parse(
	`# An Ashlar cluster. All that is commented as a default may be left out.
apiVersion: ashlar.dev/v1alpha1
kind: Cluster
metadata:
  name: {{ .Name }} # a DNS label of at most 20 characters
{{- with .Spec }}
spec:
  kubernetesVersion: {{ .KubernetesVersion }} # default: one of those that the bundle holds
  provider: # exactly one
    local: # every machine is a container on this host
      machineCIDR: {{ .Provider.Local.MachineCIDR }} # default: never seen on the host, so that clusters may share it
    # aws: {region: eu-central-1} # every machine is an EC2 instance; not available in this version
  pools: # groups of equal machines, named <pool>-0, <pool>-1, …
{{- range .Pools }}
    - {{ "{" }}name: {{ .Name }}, role: {{ .Role }}, count: {{ .Count }}} # {{ about .Role }}
{{- end }}
  network: # IPv4 ranges; they overlap neither each other nor the machines'
    podCIDR: {{ .Network.PodCIDR }} # default: addresses of pods; at least a /20
    serviceCIDR: {{ .Network.ServiceCIDR }} # default: addresses of Services; /12 to /24
    clusterDomain: {{ .Network.ClusterDomain }} # default: the DNS suffix of Services
  pki: # lifetimes of credentials
    leafTTL: {{ short .PKI.LeafTTL.Duration }} # default: of each certificate that is no CA, renewed at half of it
    caTTL: {{ short .PKI.CATTL.Duration }} # default: of each CA
    initTokenTTL: {{ short .PKI.InitTokenTTL.Duration }} # default: how long a new machine has to show its init token
    adminTTL: {{ short .PKI.AdminTTL.Duration }} # default: of the certificate in the administrator's kubeconfig
{{- end }}
`))

func about(r Role) string {
	return map[Role]string{
		RoleVault:        "default: Vault, the certificate authority; 1, 3 or 5",
		RoleEtcd:         "default: the three etcd clusters; 1, 3 or 5",
		RoleLB:           "default: the load balancer in front of the API servers; 1",
		RoleControlPlane: "API servers, controllers, schedulers; at least 1",
		RoleWorker:       "what runs pods; at least 1",
	}[r]
}

// Template returns the cluster.yaml that `ashlar init` writes: a cluster of that name, every default written out.
func Template(name string) []byte {
	c := &Cluster{Spec: Spec{
		Provider: Provider{Local: &Local{}},
		Pools:    []Pool{{Name: "control-plane", Role: RoleControlPlane, Count: 1}, {Name: "worker", Role: RoleWorker, Count: 2}},
	}}
	Default(c)
	quoted, err := yaml.Marshal(name) // 123 is a good name, but to YAML a number
	var out bytes.Buffer
	if err == nil {
		err = clusterFile.Execute(&out, struct {
			Name string
			Spec Spec
		}{strings.TrimSpace(string(quoted)), c.Spec})
	}
	if err != nil {
		panic("v1alpha1: the template does not fit the types: " + err.Error()) // a mistake in this file
	}
	return out.Bytes()
}
