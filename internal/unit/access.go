package unit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Files by which an API server knows who is who and who may do what. It sees by itself when they change.
const (
	AuthenticationFile = "/etc/kubernetes/authentication.yaml"
	AuthorizationFile  = "/etc/kubernetes/authorization.yaml"
	// AccessFile is Access, for the webhook and the baseline controller.
	AccessFile = "/etc/kubernetes/access.json"
	// BreakGlassFile is where an operator leaves the hashes of tokens for when Vault is gone.
	BreakGlassFile = "/etc/ashlar/break-glass.json"
)

// Access is what the webhook and the baseline controller go by.
type Access struct {
	ServiceAccounts []v1alpha1.ServiceAccountClass `json:"serviceAccounts"`
	StaticTokens    []v1alpha1.StaticToken         `json:"staticTokens,omitempty"`
}

// Access is what d declares.
func (d Desired) Access() Access {
	return Access{ServiceAccounts: d.Authorization.ServiceAccounts, StaticTokens: d.Authentication.StaticTokens}
}

func accessFile(d Desired) File {
	b, err := json.MarshalIndent(d.Access(), "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return File{Path: AccessFile, Mode: 0o600, Content: string(b) + "\n", Live: true}
}

// webhook answers the API server of its machine: whose a static token is, what ABAC says, and what was revoked.
func webhook(d Desired) Unit {
	serving := certificate(d, CAKubernetes, "control-plane")
	return Unit{
		Name:         "webhook",
		Args:         []string{Bin + "/ashlar", "webhook", fmt.Sprintf("--listen=127.0.0.1:%d", PortWebhook)},
		Files:        []File{caFile(d, CAKubernetes), accessFile(d), revokedFile(d)},
		Certificates: []Certificate{serving},
		Ready:        Probe{URL: fmt.Sprintf("tcp://127.0.0.1:%d", PortWebhook)},
		Grace:        2 * time.Second,
	}
}

// webhookConfig points the API server at one of the webhook's paths.
func webhookConfig(d Desired, path string) File {
	client := certificate(d, CAKubernetes, "kube-apiserver-kubelet-client")
	return File{Path: "/etc/kubernetes/webhook" + strings.ReplaceAll(path, "/", "-") + ".kubeconfig", Mode: 0o600, Content: fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: webhook
  cluster: {server: "https://localhost:%d%s", certificate-authority: %s}
users:
- name: kube-apiserver
  user: {client-certificate: %s, client-key: %s}
contexts:
- name: default
  context: {cluster: webhook, user: kube-apiserver}
current-context: default
`, PortWebhook, path, CAFile(CAKubernetes), client.Profile.CertFile(), client.Profile.KeyFile())}
}

// baselineController gives every namespace what each must have.
func baselineController(d Desired) Unit {
	client := certificate(d, CAKubernetes, "baseline-controller")
	config := kubeconfig(d, "baseline-controller", client)
	args := []string{Bin + "/ashlar", "baseline-controller", "--kubeconfig=" + config.Path, "--identity=" + d.Self}
	if d.Region != "" {
		args = append(args, "--region="+d.Region)
	}
	return Unit{
		Name:         "baseline-controller",
		Args:         args,
		Files:        []File{caFile(d, CAKubernetes), config, accessFile(d), live(networkFile(d)), isolationFile(d)},
		Certificates: []Certificate{client},
		After:        []string{"kube-apiserver"},
		Wait:         []Probe{d.apiReady()},
		Grace:        2 * time.Second,
	}
}

// authenticationConfig knows people by what Vault says of them, and others by what declared issuers say. Nobody may be
// called what Kubernetes or Ashlar call their own. Anonymous requests reach the health endpoints and nothing else: load
// balancers need those.
func authenticationConfig(d Desired) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
jwt:
- issuer:
    url: %s/v1/identity/oidc
    audiences: [%q]
    certificateAuthority: %q
  claimMappings:
    username: {expression: %q}
    groups: {expression: %q}
    uid: {claim: sub}
%s`, VaultURL, Audience(d.Cluster), d.CAs[CAVault], vaultUser, vaultGroups, userRules)
	for _, i := range d.Authentication.OIDC {
		fmt.Fprintf(&b, "- issuer:\n    url: %q\n    audiences: %s\n", i.Issuer, quotedList(i.Audiences))
		if len(i.Audiences) > 1 {
			b.WriteString("    audienceMatchPolicy: MatchAny\n")
		}
		if i.CertificateAuthority != "" {
			fmt.Fprintf(&b, "    certificateAuthority: %q\n", i.CertificateAuthority)
		}
		fmt.Fprintf(&b, "  claimMappings:\n    username: {expression: %q}\n", i.Username)
		if i.Groups != "" {
			fmt.Fprintf(&b, "    groups: {expression: %q}\n", i.Groups)
		}
		if len(i.Rules) > 0 {
			b.WriteString("  claimValidationRules:\n")
		}
		for _, r := range i.Rules {
			fmt.Fprintf(&b, "  - {expression: %q, message: %q}\n", r.Expression, r.Message)
		}
		b.WriteString(userRules)
	}
	return b.String()
}

// What Vault's tokens say: somebody with a password has a user and groups, a robot a user and its declared groups in one
// text, and who comes from the company's identity provider a provider_user and provider_groups. The last are apart from
// the others by ProviderPrefix: whoever names people there must not name anybody here.
const (
	// ProviderPrefix begins the names of users and groups that the identity provider gave.
	ProviderPrefix = "provider:"

	vaultUser   = `string(claims.user) != "" ? string(claims.user) : "` + ProviderPrefix + `" + string(claims.provider_user)`
	vaultGroups = `((claims.groups == null ? dyn([]) : dyn(claims.groups)) + string(claims.declared_groups).split(",") + ` +
		`dyn(claims.provider_groups).filter(g, g != "").map(g, "` + ProviderPrefix + `" + string(g))).map(g, string(g)).filter(g, g != "")`
)

const userRules = `  userValidationRules:
  - expression: "!user.username.startsWith('system:') && !user.username.startsWith('ashlar:') && !(user.username in ['admin', '', 'provider:'])"
    message: the name is kept for components
  - expression: "user.groups.all(g, !g.startsWith('system:') && !g.startsWith('ashlar:'))"
    message: groups of this name are kept for components
`

func quotedList(of []string) string {
	quoted := make([]string, len(of))
	for i, s := range of {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// authorizationConfig is who decides, in turn. ABAC is a webhook on the same machine: Kubernetes' own reads its file
// only when it starts, which a new namespace cannot wait for. It is asked about ServiceAccounts alone. Node and RBAC
// are always there, for the API server takes no type away, nor adds one, without a restart.
func authorizationConfig(d Desired) string {
	const node, rbac = "- {type: Node, name: node}\n", "- {type: RBAC, name: rbac}\n"
	abac := func(name, onError string) string {
		return fmt.Sprintf(`- type: Webhook
  name: %s
  webhook:
    authorizedTTL: 5s
    unauthorizedTTL: 5s
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: %s
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
    - expression: "'system:serviceaccounts' in request.groups"
`, name, onError, webhookConfig(d, "/authorize/"+name).Path)
	}
	head := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n" + denyRevoked(d)
	switch d.Authorization.Mode {
	case v1alpha1.ModeABAC:
		return head + node + abac("abac", "Deny") + rbac
	case v1alpha1.ModeShadow:
		return head + node + rbac + abac("shadow", "NoOpinion")
	}
	return head + node + rbac
}
