package v1alpha1

import (
	"bytes"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

var clusterFile = template.Must(template.New("cluster.yaml").Funcs(template.FuncMap{"short": short, "about": about, "join": strings.Join, "allows": allows}).Parse(
	`# An Ashlar cluster. All that is commented as a default may be left out.
apiVersion: ashlar.dev/v1alpha1
kind: Cluster
metadata:
  name: {{ .Name }} # a DNS label of at most 20 characters
{{- with .Spec }}
spec:
  kubernetesVersion: {{ .KubernetesVersion }} # default: one of those that the bundle holds
  provider: # exactly one
{{- with .Provider.Local }}
    local: # every machine is a container on this host
      machineCIDR: {{ .MachineCIDR }} # default: never seen on the host, so that clusters may share it
    # aws: {region: eu-central-1} # every machine is an EC2 instance: ` + "`ashlar init --provider aws`" + `
{{- end }}
{{- with .Provider.AWS }}
    aws: # every machine is an EC2 instance
      region: {{ .Region }} # required
      zones: [{{ join .Zones ", " }}] # default: a, b and c where vault or etcd have three machines or more, or else a
      vpcCIDR: {{ .VPCCIDR }} # default: the machines' network; /16 to /22
      # vpc: # default: one is made; or build in yours, vpcCIDR being what it has, by a subnet of each kind for each zone
      #   {id: vpc-0123456789abcdef0, publicSubnets: [subnet-0123456789abcdef0], privateSubnets: [subnet-0123456789abcdef1]}
      # image: ami-0123456789abcdef0 # default: the newest Rocky Linux 10
      # stateBucket: example-ashlar-state # default: one is made
      # jenkins: # default: none; runs plan on a change of this file, and up when somebody approves it
      #   service: jenkins # one of the services below, of a hub pool of one machine
      #   repository: https://git.example.org/platform/clusters.git # which holds this file
      #   branch: main # default
      #   file: cluster.yaml # default: where in the repository
      # foreman: {service: foreman} # default: none; with the Puppet server for the operating systems of machines
{{- end }}
  pools: # groups of equal machines{{ if .Provider.Local }}, named <pool>-0, <pool>-1, …{{ end }}
{{- range .Pools }}
{{- if .AWS }}
    - {{ "{" }}name: {{ .Name }}, role: {{ .Role }}, count: {{ .Count }}, # {{ about .Role }}
{{- with .AWS }}
       aws: {instanceType: {{ .InstanceType }}, volumeGiB: {{ .VolumeGiB }}
{{- with .DataVolumeGiB }}, dataVolumeGiB: {{ . }}{{ end }}{{ with .Max }}, max: {{ . }}{{ end }}}} # default
{{- end }}
{{- else }}
    - {{ "{" }}name: {{ .Name }}, role: {{ .Role }}, count: {{ .Count }}} # {{ about .Role }}
{{- end }}
{{- end }}
{{- if .Provider.AWS }}
    # - {name: builders, role: worker, count: 1, # a second pool of the same role
    #    aws: {instanceType: m6i.xlarge, max: 8, spot: true, # max: how many without up; spot: AWS may take them back
    #      labels: {example.org/for: builds}, taints: ["example.org/for=builds:NoSchedule"],
    #      extraVolumes: [{device: /dev/sdf, gib: 100}]}}
{{- else }}
    # - {name: bastion, role: bastion, count: 1} # {{ about "bastion" }}
{{- end }}
{{- if .Provider.AWS }}
    # - {name: jenkins, role: hub, count: 1} # {{ about "hub" }}
    # - {name: foreman, role: hub, count: 1}
{{- else }}
    # - {name: hub, role: hub, count: 1} # {{ about "hub" }}
    # - {name: small, role: worker, count: 1, local: {cpus: "1", memory: 4Gi}} # at most so much of this host, each
{{- end }}
  network: # IPv4 ranges; they overlap neither each other nor the machines'; and what pods may reach
    podCIDR: {{ .Network.PodCIDR }} # default: addresses of pods; at least a /20
    serviceCIDR: {{ .Network.ServiceCIDR }} # default: addresses of Services; /12 to /24
    clusterDomain: {{ .Network.ClusterDomain }} # default: the DNS suffix of Services
  #   policy: # what pods may reach, and who may reach them; default: nothing but DNS, and nobody
  #     open: # namespaces without that default, by name or by labels
  #       - {namespace: sandbox}
  #       - labels: {team: research}
  #     sets: # named groups of addresses
  #       - {name: mirrors, cidrs: [198.51.100.0/25, 192.0.2.7/32]}
  #     rules: # what is allowed; each opens both ends, where these are pods
  #       - name: shop-to-orders
  #         from: {namespace: shop, podLabels: {app: web}}
  #         to: {namespace: orders, podLabels: {app: api}}
  #         ports: [{protocol: TCP, port: 8080, endPort: 8089}] # default: all; protocol TCP, endPort the same
  #       - {name: builds-to-mirrors, from: {namespaceLabels: {team: build}}, to: {set: mirrors}, ports: [{port: 443}]}
  #       - {name: operators-to-api, from: {namespace: operators}, to: {api: true}}
  #       - {name: office-to-shop, from: {cidrs: [172.20.0.0/16], except: [172.20.9.0/24]}, to: {namespace: shop}}
  #     metadata: # pods that may reach 169.254.169.254
  #       - {namespace: cloud-controllers}
  #     metadataFromHosts: false # default: nor may workers themselves, and pods with hostNetwork
  pki: # lifetimes of credentials
    leafTTL: {{ short .PKI.LeafTTL.Duration }} # default: of each certificate that is no CA, renewed at half of it
    caTTL: {{ short .PKI.CATTL.Duration }} # default: of each CA
    initTokenTTL: {{ short .PKI.InitTokenTTL.Duration }} # default: how long a new machine has to show its init token
    adminTTL: {{ short .PKI.AdminTTL.Duration }} # default: of the certificate in the administrator's kubeconfig
  # isolation: # what pods may do to their machine, and how much of it they may take; ` + "`ashlar isolation classes`" + ` lists the classes
  #   classes: # kinds of pods, beside restricted (which is what a pod is that does not say), baseline and privileged
  #     - name: log-reader # pods say so by the label ashlar.dev/class
  #       standard: restricted # default: the Pod Security Standard that it begins from; or baseline
  #       relax: [Volume Types] # default: none of its controls
  #       capabilities: [NET_ADMIN] # default: no more than the standard
  #       hostNamespaces: [pid] # default: none; of network, pid and ipc
  #       hostPorts: [{from: 8080, to: 8089}] # default: none
  #       hostPaths: [{prefix: /var/log, readOnly: true}] # default: none
  #       runAsUser: [{from: 1000, to: 1999}] # default: whom the standard allows
  #       seccomp: [Unconfined] # default: no more than the standard
  #       seLinux: [{user: system_u, role: system_r, type: spc_t, level: s0}] # default: no more than the standard
  #       readOnlyRoot: true # default: false
  #       hostUsers: true # default: the users of pods are not the machine's, where its kernel can tell them apart
  #       disk: {read: 50Mi, write: 20Mi, readOps: 1000, writeOps: 500} # default: as much as there is, for each pod, a second
  #       network: {ingress: 100M, egress: 50M} # default: as much as there is, in bits a second
  #   grants: # who may use which class where; everybody may use restricted
  #     - {class: log-reader, namespaces: [logging], serviceAccounts: [shipper]} # "*": each of the namespace
  #     - {class: privileged, namespaces: [storage], users: [alice], groups: [on-call]}
  #     - {class: baseline, namespaceLabels: {charts: old}, default: true, groups: [dev]} # default: of pods that name none, too
  #   tiers: # sizes of namespaces, beside standard, which all have that no tier names
  #     - name: large
  #       namespaces: [{namespace: builds}, {labels: {team: research}}]
  #       quota: {requests.cpu: "100", pods: "500"} # of all pods together; default: as standard
  #       requests: {cpu: 100m} # what a container has that does not say
  #       limits: {memory: 1Gi}
  #       most: {memory: 32Gi} # the largest limit that a container may name
  # authentication: # who may prove who they are, beside people with a password in Vault
  #   identityProvider: # people log in where their company knows them, instead of with a password of Vault's
  #     issuer: https://login.example.org
  #     clientID: ashlar # what the provider calls this cluster's Vault; ` + "`ashlar user provider-secret`" + ` sets its secret
  #     userClaim: preferred_username # default: the claim that has the user's name
  #     groupsClaim: groups # default: none, so that they are in no group
  #     # certificateAuthority: of the issuer's certificate, as PEM; default: what Vault's machines trust
  #   robots: # programs that log in with a secret that Vault makes for them
  #     - {name: deploy, groups: [deployers], cidrs: [10.20.0.0/16]} # cidrs: where they may log in from
  #   oidc: # issuers outside of the cluster whose tokens the API servers take as they are
  #     - issuer: https://ci.example.org
  #       audiences: [demo] # whom the tokens must be for
  #       username: '"ci:" + claims.sub' # who it is, in CEL
  #       groups: claims.teams # default: in no group; in CEL
  #       rules: # must all hold, or the message is logged
  #         - {expression: claims.ref == "main", message: only the main branch}
  #       # certificateAuthority: of the issuer's certificate, as PEM; default: what the control-plane machines trust
  #   staticTokens: # for what can do no better; ` + "`ashlar token new`" + ` makes one
  #     - name: old-scanner # what status and verify call it, until it is removed here
  #       user: scanner
  #       groups: [scanners] # default: none
  #       sha256: 1a3a354d742fc64a35f26d4df1e25d7053f5bd503c71f124f2e97be774d83c29 # of the token
  #       expires: 2027-01-31T00:00:00Z
  #       reason: its appliance can send nothing but a fixed header
{{- if .Provider.Local }}
  # exposure: # what the internet may reach; nothing, unless a pool of role bastion or a service is declared
  #   trustedCIDRs: [198.51.100.0/24] # who may: no default; 0.0.0.0/0 also takes acknowledgeEverybody: true
  #   services: # ports of the public load balancer, a machine of its own
{{- else }}
  exposure: # what the internet may reach: the bastion, and services
    trustedCIDRs: [198.51.100.0/24] # required: who may; 0.0.0.0/0 also takes acknowledgeEverybody: true
  #   services: # each with a load balancer of its own
{{- end }}
  #     - name: {{ if .Provider.AWS }}web{{ else }}jenkins{{ end }}
  #       port: 443
{{- if .Provider.Local }}
  #       hostnames: [jenkins.example.org] # asked for by TLS (SNI); default: whatever name
{{- end }}
  #       pool: worker # whose machines serve it; of role hub or worker
  #       targetPort: 30443 # default: as port
{{- with .Provider.AWS }}
  #       certificateARN: arn:aws:acm:{{ .Region }}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef
  #       plaintext: true # default: TLS between the load balancer and the machines, too
  #     - name: jenkins
  #       port: 443
  #       pool: jenkins
  #       targetPort: 8443
  #       certificateARN: arn:aws:acm:{{ .Region }}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef
  #     - name: foreman
  #       port: 443
  #       pool: foreman
  #       certificateARN: arn:aws:acm:{{ .Region }}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef
{{- else }}
  #       # plaintext: true # default: only TLS passes
{{- end }}
  authorization: # what pods may ask of the API; what people may is RBAC's, whatever the mode
    mode: {{ .Authorization.Mode }} # default: who decides about ServiceAccounts: RBAC; ABAC; or Shadow: RBAC, then ABAC, which is recorded
    serviceAccounts: # default: what those of a namespace may: nothing, read-own-namespace, read-only or everything
{{- range .Authorization.ServiceAccounts }}
      - {{ "{" }}{{ with .Namespace }}namespace: {{ . }}, {{ end }}abac: {{ .ABAC }}, rbac: {{ .RBAC }}} # {{ allows . }}
{{- end }}
  # ssh: # which groups of users may become root on which machines, beside the operator; needs a bastion
  #   - {group: on-call, roles: [worker]} # roles: of the machines
{{- end }}
`))

func about(r Role) string {
	return map[Role]string{
		RoleVault:        "default: Vault, the certificate authority; 1, 3 or 5",
		RoleEtcd:         "default: the three etcd clusters; 1, 3 or 5",
		RoleLB:           "default: the load balancer in front of the API servers; 1",
		RoleControlPlane: "API servers, controllers, schedulers; at least 1",
		RoleWorker:       "what runs pods; at least 1",
		RoleBastion:      "the way in for people who need a shell; 1",
		RolePublicLB:     "the load balancer in front of public services; 1",
		RoleHub:          "what runs beside Kubernetes, such as Jenkins; at least 1",
	}[r]
}

func allows(c ServiceAccountClass) string {
	return map[string]string{
		"kube-system": "by RBAC: the roles bound to each by name, and no more",
		"monitoring":  "by RBAC: no Secrets, exec or the like",
		"":            "every other namespace; by RBAC: no Secrets, exec or the like",
	}[c.Namespace]
}

// Template returns the cluster.yaml that `ashlar init` writes: a cluster of that name, every default written out.
func Template(name string) []byte { return fill(name, Provider{Local: &Local{}}) }

// TemplateAWS is Template for a cluster on AWS, which some region must be named for.
func TemplateAWS(name, region string) []byte { return fill(name, Provider{AWS: &AWS{Region: region}}) }

func fill(name string, p Provider) []byte {
	c := &Cluster{Spec: Spec{
		Provider: p,
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
