package vault

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// rule is one paragraph of a policy. What no rule allows is refused.
type rule struct {
	why          string
	path         string
	capabilities []string
	// allowed are the only parameters that may be sent, each with its only values (a string is not a bool, true not
	// "true"); none: any value.
	allowed map[string][]any
	// wrap demands that the answer is response-wrapped, for no longer than this many seconds.
	wrap int64
}

func allow(path, capabilities string) rule {
	return rule{path: path, capabilities: strings.Fields(capabilities)}
}

func (r rule) because(why string) rule {
	r.why = why
	return r
}

// policies makes one policy for each role of machine, and the operator's.
func policies(in Input) []Object {
	object := func(role v1alpha1.Role, rules []rule) Object {
		return Object{KindPolicy, "sys/policies/acl/" + PolicyName(in.Cluster, role), Fields{"policy": render(rules)}}
	}
	out := []Object{object(unit.RoleOperator, operatorRules(in))}
	for _, role := range v1alpha1.Roles {
		out = append(out, object(role, machineRules(in, role)))
	}
	return out
}

// machineRules is what a machine may do: nothing that names another machine, nothing with sudo, no list.
func machineRules(in Input, role v1alpha1.Role) []rule {
	return append(rulesFor(in, role, entityMachine, entityMachine), sshMachineRules(in, sshMachineRole)...)
}

// rulesFor are those of a machine that is told what to be by the document of desired, and that calls itself self.
func rulesFor(in Input, role v1alpha1.Role, desired, self string) []rule {
	rules := selfRules()
	rules = append(rules,
		allow(DocumentPath(in.Cluster, desired, Desired), "read"),
		allow(documentMetadataPath(in.Cluster, desired, Desired), "read").because("whether there is a newer one"),
		allow(DocumentPath(in.Cluster, self, Status), "create read update"),
	)
	if role == v1alpha1.RoleControlPlane {
		rules = append(rules,
			allow(SecretPath(in.Cluster, ServiceAccountDocument), "read").because("the API servers share the key that signs ServiceAccount tokens"),
			allow(SecretPath(in.Cluster, ServiceAccountDocument)+"/+", "read").because("and its successors"),
			allow(TransitPath(in.Cluster)+"/encrypt/"+TransitKey, "update").because("encryption at rest: use the key, never see it"),
			allow(TransitPath(in.Cluster)+"/decrypt/"+TransitKey, "update"),
			allow(TransitPath(in.Cluster)+"/keys/"+TransitKey, "read").because("which version of the key is the latest"),
		)
	}
	return append(rules, signRules(in, role)...)
}

// selfRules are what everybody may do with their own token.
func selfRules() []rule {
	return []rule{
		allow("auth/token/lookup-self", "read"),
		allow("auth/token/renew-self", "update"),
		allow("auth/token/revoke-self", "update"),
	}
}

// signRules let a role sign its own profiles. Naming the parameters keeps out those that PKI roles do not limit.
func signRules(in Input, role v1alpha1.Role) []rule {
	var rules []rule
	for _, p := range unit.ProfilesOf(role) {
		r := allow(PKIPath(in.Cluster, p.CA)+"/sign/"+p.Name, "update")
		r.allowed = map[string][]any{"csr": nil, "common_name": nil, "exclude_cn_from_sans": {true}}
		if !strings.Contains(p.CommonName, unit.Self) {
			r.allowed["common_name"] = []any{p.CommonName}
		}
		if len(p.DNSNames) > 0 {
			r.allowed["alt_names"] = nil
		}
		if p.APIAddress {
			r.allowed["ip_sans"] = []any{in.ServiceIP.String()}
		}
		rules = append(rules, r)
	}
	return rules
}

// operatorRules is what `plan`, `up` and `verify` do every day. Of the layout they only read.
func operatorRules(in Input) []rule {
	c, auth, robots := in.Cluster, "auth/"+AuthPath(in.Cluster), "auth/"+RobotsPath(in.Cluster)
	initToken := allow(auth+"/role/+/secret-id", "update").because("init tokens: only wrapped, so that their first use is noticed")
	initToken.allowed, initToken.wrap = map[string][]any{}, seconds(in.InitTokenTTL)
	revoke := allow(c+"/pki/+/revoke", "update").because("withdraw a certificate, named by its serial number or shown")
	revoke.allowed = map[string][]any{"serial_number": nil, "certificate": nil}
	shutOut := allow("identity/entity/name/+", "read update").because("shut somebody out; to let them in again takes the unseal key")
	shutOut.allowed = map[string][]any{"disabled": {true}}
	return slices.Concat(selfRules(), []rule{
		initToken,
		allow(auth+"/role/"+Operator+"/secret-id", "deny").because("a stolen token must not become a lasting credential"),
		allow(c+"/machines/data/+/"+Desired, "create read update").because("tell machines what to be"),
		allow(c+"/machines/data/+/"+Status, "read"),
		allow(c+"/secrets/data/"+ServiceAccountDocument, "create").because("make the key once, and never read it"),
		allow(c+"/secrets/metadata/"+ServiceAccountDocument, "read"),
		allow(c+"/secrets/data/"+RotationDocument, "create read update").because("the journal of rotations"),
		allow(c+"/pki/+/issuers", "list"),
		revoke,
		allow("auth/token/revoke-accessor", "update").because("what was revoked has no session left"),
		allow(robots+"/role/+/secret-id", "list"),
		allow(robots+"/role/+/secret-id-accessor/destroy", "update"),
		allow(c+"/secrets/data/"+RevokedDocument, "create read update"),
		allow(userPath(c, Canary), "create update delete").because("`ashlar verify` logs in, and is locked out, as somebody in no group"),
		allow("sys/locked-users/+/unlock/"+Canary, "update"),
	}, signRules(in, unit.RoleOperator), sshOperatorRules(in), awsOperatorRules(in), []rule{
		allow("sys/mounts", "read").because("read the layout"),
		allow("sys/auth", "read"),
		allow("sys/policies/acl", "list"),
		allow("sys/policies/acl/"+c+"-*", "read"),
		allow(c+"/machines/config", "read"),
		allow(c+"/machines/metadata", "list"),
		allow(c+"/machines/metadata/+", "list"),
		allow(c+"/secrets/config", "read"),
		allow(c+"/transit/keys", "list"),
		allow(c+"/transit/keys/+", "read"),
		allow(c+"/pki/+/roles", "list"),
		allow(c+"/pki/+/roles/+", "read"),
		allow(c+"/pki/+/config/acme", "read"),
		allow(c+"/pki/+/config/auto-tidy", "read"),
		allow(c+"/pki/+/certs", "list"),
		allow(auth+"/role", "list"),
		allow(auth+"/role/+", "read"),
		allow(auth+"/role/+/role-id", "read"),
		allow(robots+"/role", "list"),
		allow(robots+"/role/+", "read"),
		allow(robots+"/role/+/role-id", "read"),
		allow("auth/"+ProviderPath(c)+"/config", "read"),
		allow("auth/"+ProviderPath(c)+"/role", "list"),
		allow("auth/"+ProviderPath(c)+"/role/+", "read"),
		allow("identity/oidc/config", "read"),
		allow("identity/oidc/key/"+c, "read"),
		allow("identity/oidc/role/"+c, "read"),
		allow("identity/entity/name", "list"),
		shutOut,
		allow("sys/storage/raft/configuration", "read").because("who is a member"),
		allow("sys/audit", "read sudo").because("Vault asks for sudo even to read these two: the audit devices, and which tokens live"),
		allow("auth/token/accessors", "list sudo"),
		allow("auth/token/lookup-accessor", "update"),
	})
}

// render writes rules as Vault's HCL.
func render(rules []rule) string {
	var b strings.Builder
	for i, r := range rules {
		if i > 0 {
			b.WriteString("\n")
		}
		if r.why != "" {
			fmt.Fprintf(&b, "# %s\n", r.why)
		}
		fmt.Fprintf(&b, "path %q {\n  capabilities = [%s]\n", r.path, literals(r.capabilities))
		if r.wrap > 0 {
			fmt.Fprintf(&b, "  min_wrapping_ttl = \"1s\"\n  max_wrapping_ttl = \"%ds\"\n", r.wrap)
		}
		if r.allowed != nil {
			b.WriteString("  allowed_parameters = {\n")
			for _, name := range slices.Sorted(maps.Keys(r.allowed)) {
				fmt.Fprintf(&b, "    %q = [%s]\n", name, literals(r.allowed[name]))
			}
			b.WriteString("  }\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func literals[T any](values []T) string {
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprintf("%#v", v))
	}
	return strings.Join(out, ", ")
}
