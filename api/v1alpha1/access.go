package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Authentication says who may prove who they are, and how.
type Authentication struct {
	// IdentityProvider lets people log in where their company knows them, instead of with a password of Vault's.
	IdentityProvider *IdentityProvider `json:"identityProvider,omitempty"`
	// Robots are programs that log in with a secret that Vault makes for them (AppRole).
	Robots []Robot `json:"robots,omitzero"`
	// OIDC are issuers outside of the cluster whose tokens the API servers take as they are.
	OIDC []OIDCIssuer `json:"oidc,omitzero"`
	// StaticTokens are for what can do no better. Each is named by status and verify until it is removed here.
	StaticTokens []StaticToken `json:"staticTokens,omitzero"`
}

// IdentityProvider is the company's own, an OpenID provider that Vault sends people to.
type IdentityProvider struct {
	// Issuer is its URL, https://….
	Issuer string `json:"issuer"`
	// ClientID is what the provider calls this cluster's Vault. Its secret is set by `ashlar user provider-secret`, never here.
	ClientID string `json:"clientID"`
	// CertificateAuthority is what the issuer's certificate is of, as PEM. Left out: what Vault's machines trust.
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
	// UserClaim names the claim that has the user's name.
	UserClaim string `json:"userClaim,omitempty"`
	// GroupsClaim names the claim that has the user's groups. Left out: those that come from the provider are in no group.
	GroupsClaim string `json:"groupsClaim,omitempty"`
}

// Robot is a program that logs in.
type Robot struct {
	// Name is who it is to the API servers and in the audit log.
	Name string `json:"name"`
	// Groups it is in; what they may do is for RBAC.
	Groups []string `json:"groups,omitzero"`
	// CIDRs are the addresses it may log in from.
	CIDRs []string `json:"cidrs"`
}

// OIDCIssuer is an issuer outside of the cluster.
type OIDCIssuer struct {
	// Issuer is its URL, https://…, as in the iss claim of its tokens.
	Issuer string `json:"issuer"`
	// Audiences are those that its tokens may be for; one of them must be.
	Audiences []string `json:"audiences"`
	// CertificateAuthority is what the issuer's certificate is of, as PEM. Left out: what the control-plane machines trust.
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
	// Username is a CEL expression over claims that is a text: who it is. One with claims.email needs claims.email_verified, here
	// or in a rule.
	Username string `json:"username"`
	// Groups is a CEL expression over claims that is a text or a list of texts, such as claims.groups, or
	// dyn(claims.groups).map(g, "ci:" + g). Left out: in no group.
	Groups string `json:"groups,omitempty"`
	// Rules must all hold for a token to be taken.
	Rules []ClaimRule `json:"rules,omitzero"`
}

// ClaimRule is something that must be so of a token.
type ClaimRule struct {
	// Expression is a CEL expression over claims that is true or false.
	Expression string `json:"expression"`
	// Message is what the API server's log says when it is false.
	Message string `json:"message"`
}

// StaticToken is a token that is always the same. `ashlar token new` makes one, and what to write here.
type StaticToken struct {
	// Name is what status and verify call it.
	Name string `json:"name"`
	// User is who presents it.
	User string `json:"user"`
	// Groups of the user.
	Groups []string `json:"groups,omitzero"`
	// SHA256 of the token, in hexadecimal. The token itself is kept nowhere.
	SHA256 string `json:"sha256"`
	// Expires is when it is no longer taken, such as 2027-01-31T00:00:00Z.
	Expires metav1.Time `json:"expires"`
	// Reason is why nothing better will do.
	Reason string `json:"reason"`
}

// Authorization says what pods may ask of the API. What people may is RBAC's, whatever the mode.
type Authorization struct {
	// Mode is RBAC, ABAC or Shadow: who decides about ServiceAccounts. In ABAC mode the classes' abac does, and nothing else; in
	// Shadow mode RBAC decides first and ABAC after it, and what only ABAC allowed is recorded.
	Mode AuthorizationMode `json:"mode,omitempty"`
	// ServiceAccounts are classes of them, and what each may do. One that no class is for may do nothing. Left out: the three
	// classes that `ashlar init` writes; [] is none.
	ServiceAccounts []ServiceAccountClass `json:"serviceAccounts,omitzero"`
}

// AuthorizationMode is who decides about ServiceAccounts.
type AuthorizationMode string

// The modes.
const (
	ModeRBAC   AuthorizationMode = "RBAC"
	ModeABAC   AuthorizationMode = "ABAC"
	ModeShadow AuthorizationMode = "Shadow"
)

// AuthorizationModes lists them.
var AuthorizationModes = []AuthorizationMode{ModeRBAC, ModeABAC, ModeShadow}

// ServiceAccountClass is the ServiceAccounts of one namespace, or of every namespace that no other class is for.
type ServiceAccountClass struct {
	// Namespace; left out: all that no other class names.
	Namespace string `json:"namespace,omitempty"`
	// ABAC is what they may do in ABAC mode: nothing, read-own-namespace, read-only or everything. Reading includes Secrets there, and
	// exec, for ABAC cannot leave anything out.
	ABAC Access `json:"abac"`
	// RBAC is the same for RBAC mode, and never more than ABAC. Reading leaves out Secrets, exec and the like, and the ServiceAccount
	// "default", that of pods which name none, has nothing. Left out: as ABAC, but nothing instead of everything: each
	// ServiceAccount then has the roles that are bound to it by its name.
	RBAC Access `json:"rbac,omitempty"`
}

// Access is what a class may do.
type Access string

// What a class may do, from the least to the most.
const (
	Nothing          Access = "nothing"
	ReadOwnNamespace Access = "read-own-namespace"
	ReadOnly         Access = "read-only"
	Everything       Access = "everything"
)

// Accesses lists them in that order.
var Accesses = []Access{Nothing, ReadOwnNamespace, ReadOnly, Everything}

// SeedClasses are the policy of the specification: the ServiceAccounts of kube-system may do everything, those of
// monitoring read everything, all others read in their own namespace.
func SeedClasses() []ServiceAccountClass {
	return []ServiceAccountClass{
		{Namespace: "kube-system", ABAC: Everything, RBAC: Nothing},
		{Namespace: "monitoring", ABAC: ReadOnly, RBAC: ReadOnly},
		{ABAC: ReadOwnNamespace, RBAC: ReadOwnNamespace},
	}
}
