// Package intruder plays a machine that wants more than its own: it sends Vault random requests of every kind that may
// give a credential, uses in later ones what earlier ones gave, and judges all that it gets. Nothing that it asks for
// destroys anything where it is granted.
package intruder

import (
	"fmt"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Choose picks one of n, from 0: a random source, or a test's.
type Choose func(n int) int

func oneOf[T any](choose Choose, of ...T) T { return of[choose(len(of))] }

// Step is one request.
type Step struct {
	Method, Path string
	Body         map[string]any
	// Token is which of the tokens that the intruder holds by then it shows; Wrap asks for a wrapped answer.
	Token int
	Wrap  bool
	// Loot, where it is named, is the field of Body that is filled with something that the intruder holds by then: Which.
	Loot  string
	Which int
}

// newest is what came last.
const newest = -1

func (s Step) String() string {
	keys := make([]string, 0, len(s.Body))
	for k, v := range s.Body {
		if k == "csr" {
			v = "…"
		}
		keys = append(keys, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(keys)
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Method, s.Path, strings.Join(keys, " ")))
}

// script draws requests; Own, Others and so on say what there is to be wanted.
func (i *Intruder) script(choose Choose, n int) []Step {
	steps := make([]Step, 0, n)
	for len(steps) < n {
		s := oneOf(choose, i.sign, i.sign, i.sign, i.issue, i.document, i.token, i.login, i.login, i.identity, i.wrapping, i.wrapping, i.system)(choose)
		s.Token = choose(8)
		s.Wrap = choose(6) == 0 && (i.Issued == nil || !strings.Contains(s.Path, "/sign/"))
		s.Which = choose(8)
		unwrap := strings.HasSuffix(s.Path, "/unwrap")
		if unwrap && choose(4) > 0 {
			s.Token, s.Loot = 0, "" // a wrapping token opens itself
		}
		steps = append(steps, s)
		if s.Wrap && strings.Contains(s.Path, "/sign/") {
			steps = append(steps, Step{Method: "PUT", Path: "sys/wrapping/unwrap", Body: map[string]any{}, Which: newest})
		}
		if unwrap {
			login := i.login(choose)
			login.Which = newest
			steps = append(steps, login)
		}
	}
	return steps
}

// names are those of certificates: its own, others', and those of what is no machine.
func (i *Intruder) names(choose Choose, p unit.Profile) string {
	other := oneOf(choose, i.Others...)
	return oneOf(choose,
		p.For(i.Own.Name).CommonName, p.For(other.Name).CommonName, i.Own.Name, other.Name, "system:node:"+other.Name, "admin", "root",
		"system:kube-scheduler", "*", "*."+i.Own.Name, i.Own.Name+","+other.Name, i.Own.Name+" "+other.Name, "system:node:"+i.Own.Name+","+other.Name,
		"{{identity.entity.metadata.machine}}", strings.ToUpper(i.Own.Name), i.Own.Name+".", "localhost", "kubernetes.default", "")
}

// sign starts from a request that is granted, and changes up to three things in it.
func (i *Intruder) sign(choose Choose) Step {
	own := unit.ProfilesOf(i.Own.Role)
	p := own[choose(len(own))]
	body := map[string]any{"csr": i.CSR, "common_name": p.For(i.Own.Name).CommonName, "exclude_cn_from_sans": true}
	if len(p.DNSNames) > 0 {
		body["alt_names"] = strings.Join(p.For(i.Own.Name).DNSNames, ",")
	}
	path := vault.PKIPath(i.Cluster, p.CA) + "/sign/" + p.Name
	for range choose(4) {
		switch choose(4) {
		case 0:
			body["common_name"] = i.names(choose, p)
		case 1:
			body["alt_names"] = i.names(choose, p)
		case 2:
			other := unit.Profiles[choose(len(unit.Profiles))]
			verb := oneOf(choose, "sign", "sign", "sign-verbatim", "issuer/default/sign", "issuer/default/sign-verbatim")
			path = vault.PKIPath(i.Cluster, other.CA) + "/" + verb + "/" + other.Name
		case 3:
			i.widen(choose, body)
		}
	}
	return Step{Method: "PUT", Path: path, Body: body}
}

// widen asks for something that no profile has.
func (i *Intruder) widen(choose Choose, body map[string]any) {
	other := oneOf(choose, i.Others...)
	field := oneOf(choose, [][2]any{
		{"organization", "system:masters"}, {"ou", "system:masters"}, {"ttl", "87600h"}, {"not_after", "2099-01-01T00:00:00Z"}, {"ip_sans", other.Address.String()},
		{"uri_sans", "spiffe://" + other.Name}, {"other_sans", "1.3.6.1.4.1.311.20.2.3;UTF8:" + other.Name}, {"user_ids", "root"}, {"serial_number", "1"},
		{"exclude_cn_from_sans", false}, {"exclude_cn_from_sans", "true"}, {"use_csr_values", true}, {"use_csr_sans", true}, {"use_csr_common_name", true},
		{"add_basic_constraints", true}, {"is_ca", true}, {"key_usage", "CertSign"}, {"ext_key_usage", "Any"}, {"issuer_ref", "default"}, {"format", "pem_bundle"},
		{"remove_roots_from_chain", true}, {"Common_Name", other.Name}, {"cn_validations", "disabled"}, {"policy_identifiers", "1.2.3"}, {"signature_bits", 512},
	}...)
	body[field[0].(string)] = field[1]
}

// issue has Vault make keys and CAs.
func (i *Intruder) issue(choose Choose) Step {
	p := unit.Profiles[choose(len(unit.Profiles))]
	mount := vault.PKIPath(i.Cluster, p.CA)
	path := oneOf(choose, "/issue/"+p.Name, "/sign-verbatim", "/root/sign-intermediate", "/issuer/default/sign-intermediate",
		"/issuer/default/issue/"+p.Name, "/intermediate/cross-sign", "/keys/generate/exported", "/acme/new-order", "/roles/"+p.Name)
	method := "PUT"
	if strings.HasPrefix(path, "/roles/") {
		method = "GET"
	}
	return Step{Method: method, Path: mount + path, Body: map[string]any{"csr": i.CSR, "common_name": i.names(choose, p)}}
}

// document asks for machines' documents and for secrets, by paths that are more or less straight.
func (i *Intruder) document(choose Choose) Step {
	other := oneOf(choose, i.Others...).Name
	c := i.Cluster
	path := oneOf(choose,
		vault.DocumentPath(c, other, vault.Desired), vault.DocumentPath(c, other, vault.Status), vault.DocumentPath(c, i.Own.Name, vault.Desired),
		c+"/machines/data/"+i.Own.Name+"/../"+other+"/desired", c+"/machines/data//"+other+"/desired", c+"/machines/data/"+i.Own.Name+"%2f..%2f"+other+"/desired",
		c+"/machines/data/"+strings.ToUpper(other)+"/desired", c+"/machines/data/+/desired", c+"/machines/data/*/desired",
		c+"/machines/metadata/"+other+"/desired", c+"/machines/subkeys/"+other+"/desired", c+"/machines/metadata/?list=true", c+"/machines/metadata/"+i.Own.Name+"/?list=true",
		vault.SecretPath(c, vault.ServiceAccountDocument), c+"/secrets/metadata/?list=true", "cubbyhole/x", "cubbyhole/response")
	if i.Own.Role == v1alpha1.RoleControlPlane && strings.Contains(path, "/secrets/data/") {
		path = c + "/secrets/data/none" // the API servers' key is theirs
	}
	if choose(4) > 0 || strings.Contains(path, "list=") {
		return Step{Method: "GET", Path: path}
	}
	// The version is one that never was: whoever may write learns so, and has written nothing.
	return Step{Method: "PUT", Path: path, Body: map[string]any{"options": map[string]any{"cas": 1 << 30}, "data": map[string]any{"x": "y"}}}
}

// token makes tokens, and looks at others'.
func (i *Intruder) token(choose Choose) Step {
	path := oneOf(choose, "create", "create-orphan", "create/"+i.Cluster, "lookup", "lookup-self", "renew-self", "renew", "lookup-accessor", "renew-accessor", "accessors/?list=true", "roles/?list=true")
	s := Step{Method: "PUT", Path: "auth/token/" + path, Body: map[string]any{}}
	switch {
	case path == "lookup-self" || strings.Contains(path, "list="):
		return Step{Method: "GET", Path: s.Path}
	case strings.HasPrefix(path, "create"):
		s.Body = map[string]any{"policies": []string{oneOf(choose, "root", vault.PolicyName(i.Cluster, v1alpha1.RoleControlPlane), vault.PolicyName(i.Cluster, unit.RoleOperator), "default")},
			"no_parent": choose(2) == 0, "ttl": "87600h"}
		if choose(2) == 0 {
			s.Body["entity_alias"] = vault.RoleID(i.Cluster, oneOf(choose, i.Others...).Name)
		}
	case path == "lookup" || path == "renew":
		s.Loot = "token"
	}
	return s
}

// login uses secret_ids and role_ids of its own and of others, again and again.
func (i *Intruder) login(choose Choose) Step {
	who := oneOf(choose, i.Own.Name, oneOf(choose, i.Others...).Name, vault.Operator)
	auth := "auth/" + vault.AuthPath(i.Cluster)
	switch choose(4) {
	case 0:
		return Step{Method: "PUT", Path: vault.AppRolePath(i.Cluster, who) + oneOf(choose, "/secret-id", "/custom-secret-id", "/secret-id/lookup"),
			Body: map[string]any{"secret_id": "abcdefabcdefabcdefabcdef", "metadata": `{"machine":"x"}`, "cidr_list": []string{}}}
	case 1:
		return Step{Method: "GET", Path: vault.AppRolePath(i.Cluster, who) + oneOf(choose, "", "/role-id")}
	default:
		return Step{Method: "PUT", Path: auth + "/login", Loot: "secret_id", Body: map[string]any{"role_id": vault.RoleID(i.Cluster, who)}}
	}
}

// identity wants to be somebody else, or in a group.
func (i *Intruder) identity(choose Choose) Step {
	other := oneOf(choose, i.Others...).Name
	name := vault.RoleID(i.Cluster, oneOf(choose, i.Own.Name, other))
	return oneOf(choose,
		Step{Method: "GET", Path: "identity/entity/name/" + name},
		Step{Method: "PUT", Path: "identity/entity/name/" + vault.RoleID(i.Cluster, i.Own.Name), Body: map[string]any{"metadata": map[string]any{"machine": other}}},
		Step{Method: "PUT", Path: "identity/entity-alias", Body: map[string]any{"name": vault.RoleID(i.Cluster, i.Own.Name)}},
		Step{Method: "PUT", Path: "identity/lookup/entity", Body: map[string]any{"name": name}},
		Step{Method: "GET", Path: "identity/oidc/token/" + i.Cluster},
		Step{Method: "GET", Path: "identity/group/name/?list=true"},
	)
}

// wrapping plays with wrapped answers: its own, and one that was another's.
func (i *Intruder) wrapping(choose Choose) Step {
	if choose(4) == 0 {
		return Step{Method: "PUT", Path: "sys/wrapping/wrap", Body: map[string]any{"secret_id": "x", "token": "y"}, Wrap: true}
	}
	return Step{Method: "PUT", Path: "sys/wrapping/" + oneOf(choose, "unwrap", "unwrap", "rewrap", "lookup"), Body: map[string]any{}, Loot: "token"}
}

// system asks for what is nobody's but root's.
func (i *Intruder) system(choose Choose) Step {
	return oneOf(choose,
		Step{Method: "GET", Path: "sys/raw/core/keyring"}, Step{Method: "GET", Path: "sys/storage/raft/snapshot"}, Step{Method: "GET", Path: "sys/policies/acl/" + vault.PolicyName(i.Cluster, unit.RoleOperator)},
		Step{Method: "PUT", Path: i.Cluster + "/transit/decrypt/" + vault.TransitKey, Body: map[string]any{"ciphertext": "vault:v1:x"}},
		Step{Method: "GET", Path: i.Cluster + "/transit/export/encryption-key/" + vault.TransitKey},
		Step{Method: "PUT", Path: "sys/capabilities", Body: map[string]any{"path": "sys"}, Loot: "token"},
		Step{Method: "PUT", Path: "sys/leases/lookup", Body: map[string]any{"lease_id": "auth/token/create"}},
		Step{Method: "GET", Path: "sys/internal/ui/mounts"},
	)
}
