package vault

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// Input is all that the layout depends on.
type Input struct {
	// Cluster is the cluster's name, ID its identity.
	Cluster, ID string
	// Machines are all machines of the cluster.
	Machines []unit.Machine
	// LeafTTL limits certificates, and the period of machines' tokens; CATTL the CAs; InitTokenTTL how long a machine
	// has to log in; AdminTTL the administrator's certificate.
	LeafTTL, CATTL, InitTokenTTL, AdminTTL time.Duration
	// Robots are those that may log in.
	Robots []v1alpha1.Robot
	// Revoked says which machines and robots are shut out.
	Revoked unit.Revoked
	// SSH says which groups of people may enter which machines.
	SSH []v1alpha1.SSHGrant
	// SSHEngines are the engines of the SSH CAs; nil: FirstSSHEngines.
	SSHEngines SSHEngines
	// Provider is the company's, where people may log in; nil: there is none.
	Provider *v1alpha1.IdentityProvider
	// AWS is where the cluster's instances are; nil: its machines are none.
	AWS *AWS
	// OperatorAddress is the address from which Vault sees `ashlar`.
	OperatorAddress netip.Addr
	// ServiceIP is the API's Service address.
	ServiceIP netip.Addr
	// AuditDirectory is where servers keep their audit logs; empty: /var/log/vault.
	AuditDirectory string
}

// Operator is the name of the operator's AppRole role, entity and policy.
const Operator = "operator"

// operatorTokenTTL is how long the operator's token lives, if it is not revoked when the command ends.
const operatorTokenTTL = time.Hour

// TransitKey is the key that encrypts Kubernetes' Secrets in etcd.
const TransitKey = "etcd"

// State is what a Vault holds of a cluster, as far as Ashlar answers for it: sorted, comparable, without secrets.
type State struct {
	Cluster string
	Objects []Object
}

// Object is one thing in Vault.
type Object struct {
	Kind Kind
	// Path is where it is read and written.
	Path string
	// Fields are all that matters about it, under the names that Vault's API gives them.
	Fields Fields
}

// Fields holds strings, bools, int64s (also for durations, in seconds), []string and map[string]string.
type Fields map[string]any

// Kind is a kind of Object.
type Kind string

// Paths within Vault.

// PKIPath is where a CA's PKI engine is mounted.
func PKIPath(cluster string, ca unit.CA) string { return cluster + "/pki/" + string(ca) }

// TransitPath is where the transit engine is mounted.
func TransitPath(cluster string) string { return cluster + "/transit" }

// AuthPath is where AppRole is mounted, below auth/.
func AuthPath(cluster string) string { return cluster + "/approle" }

// AppRolePath is the AppRole role of a machine, or of the Operator.
func AppRolePath(cluster, role string) string { return "auth/" + AuthPath(cluster) + "/role/" + role }

// DocumentPath is a machine's document.
func DocumentPath(cluster, machine, document string) string {
	return cluster + "/machines/data/" + machine + "/" + document
}

// documentMetadataPath tells of a machine's document which versions there are.
func documentMetadataPath(cluster, machine, document string) string {
	return cluster + "/machines/metadata/" + machine + "/" + document
}

// SecretPath is a secret document.
func SecretPath(cluster, document string) string { return cluster + "/secrets/data/" + document }

// RoleID is what a machine, or the Operator, calls itself when it logs in. It is no secret.
func RoleID(cluster, name string) string { return cluster + "-" + name }

// PolicyName is the policy of a role of machines, or of the Operator.
func PolicyName(cluster string, role v1alpha1.Role) string { return cluster + "-" + string(role) }

// Layout says what Vault shall hold.
func Layout(in Input) State {
	objects := slices.Concat(audits(in), mounts(in), policies(in), pkiRoles(in), settings(in), logins(in), people(in), robots(in), provider(in), sshEngines(in), aws(in), awsPolicies(in))
	slices.SortFunc(objects, func(a, b Object) int { return cmp.Or(a.stage()-b.stage(), strings.Compare(a.Path, b.Path)) })
	return State{Cluster: in.Cluster, Objects: objects}
}

// audits are two, so that one that cannot be written does not stop Vault, and each can be checked against the other.
func audits(in Input) []Object {
	dir := cmp.Or(in.AuditDirectory, "/var/log/vault")
	var out []Object
	for _, n := range []string{"audit-1", "audit-2"} {
		out = append(out, Object{KindAudit, "sys/audit/" + n, Fields{
			"type": "file", "file_path": dir + "/" + n + ".log", "mode": "0600",
		}})
	}
	return out
}

func mounts(in Input) []Object {
	mount := func(path, kind, description string, fields Fields) Object {
		f := Fields{
			"type": kind, "description": description, "version": "", "default_lease_ttl": int64(0), "max_lease_ttl": int64(0),
			"audit_non_hmac_request_keys": []string{}, "audit_non_hmac_response_keys": []string{},
		}
		for k, v := range fields {
			f[k] = v
		}
		return Object{KindMount, "sys/mounts/" + path, f}
	}
	out := []Object{
		mount(in.Cluster+"/machines", "kv", "what each machine shall be, and says it is ("+in.ID+")", Fields{"version": "2"}),
		mount(in.Cluster+"/secrets", "kv", "secrets that several machines share", Fields{"version": "2"}),
		mount(TransitPath(in.Cluster), "transit", "encryption at rest", nil),
		{KindAuth, "sys/auth/" + AuthPath(in.Cluster), Fields{
			"type": "approle", "description": "machines and the operator",
			"default_lease_ttl": int64(0), "max_lease_ttl": seconds(max(in.LeafTTL, operatorTokenTTL)),
			// Names are known and secrets cannot be guessed: whoever fails on purpose would only lock others out.
			lockoutDisabled: true,
		}},
	}
	for _, ca := range unit.CAs {
		out = append(out, mount(PKIPath(in.Cluster, ca), "pki", "CA "+string(ca), Fields{
			"default_lease_ttl": seconds(in.LeafTTL),
			"max_lease_ttl":     seconds(in.CATTL),
			// Audit logs hash what they hold; what is issued to whom is public, and must be found there.
			"audit_non_hmac_request_keys":  []string{"alt_names", "certificate", "common_name", "ip_sans", "serial_number"},
			"audit_non_hmac_response_keys": []string{"certificate", "expiration", "serial_number"},
		}), Object{KindCA, PKIPath(in.Cluster, ca) + "/root/generate/internal", Fields{
			"common_name": in.Cluster + " " + string(ca), "key_type": "ec", "key_bits": int64(256), "ttl": seconds(in.CATTL),
		}})
	}
	return out
}

// settings of engines, where Vault's own defaults are not good enough or would open a door when changed.
func settings(in Input) []Object {
	out := []Object{
		{KindSetting, in.Cluster + "/machines/config", Fields{"cas_required": true, "max_versions": int64(5)}},
		{KindSetting, in.Cluster + "/secrets/config", Fields{"cas_required": true, "max_versions": int64(5)}},
		{KindKey, TransitPath(in.Cluster) + "/keys/" + TransitKey, Fields{
			"type": "aes256-gcm96", "derived": false, "exportable": false, "allow_plaintext_backup": false, "deletion_allowed": false,
		}},
	}
	for _, ca := range unit.CAs {
		// ACME would issue to anybody, without a token.
		out = append(out,
			Object{KindSetting, PKIPath(in.Cluster, ca) + "/config/acme", Fields{"enabled": false}},
			// Certificates are kept, to be listed and revoked; those that have expired would only make Vault grow.
			Object{KindSetting, PKIPath(in.Cluster, ca) + "/config/auto-tidy", Fields{
				"enabled": true, "interval_duration": seconds(in.LeafTTL / 2), "safety_buffer": seconds(in.LeafTTL / 2),
				"tidy_cert_store": true, "tidy_revoked_certs": true,
			}})
	}
	return out
}

// logins are an AppRole role and an entity for each machine and for the operator. Machines on AWS have another login.
func logins(in Input) []Object {
	var out []Object
	entity := func(name string, role v1alpha1.Role, alias string) {
		_, disabled := in.Revoked.Machine(name)
		out = append(out, Object{KindEntity, "identity/entity/name/" + RoleID(in.Cluster, name), Fields{
			"metadata": map[string]string{"cluster": in.Cluster, "machine": name, "role": string(role)},
			"policies": []string{}, "groups": []string{}, "disabled": disabled, "aliases": []string{alias},
		}})
	}
	add := func(name string, role v1alpha1.Role, address netip.Addr, fields Fields) {
		out = append(out, Object{KindAppRole, AppRolePath(in.Cluster, name), appRole(in.Cluster, name, role, address, fields)})
		entity(name, role, "auth/"+AuthPath(in.Cluster)+"/ "+RoleID(in.Cluster, name))
	}
	for _, m := range in.Machines {
		if in.AWS != nil {
			entity(m.Name, m.Role, awsAlias(in, m))
			continue
		}
		add(m.Name, m.Role, m.Address, Fields{
			"secret_id_num_uses": int64(1), "secret_id_ttl": seconds(in.InitTokenTTL), "token_period": seconds(in.LeafTTL),
		})
	}
	add(Operator, unit.RoleOperator, in.OperatorAddress, Fields{
		"token_ttl": seconds(operatorTokenTTL), "token_max_ttl": seconds(operatorTokenTTL), "token_explicit_max_ttl": seconds(operatorTokenTTL),
	})
	return out
}

func appRole(cluster, name string, role v1alpha1.Role, address netip.Addr, fields Fields) Fields {
	f := Fields{
		"role_id":                 RoleID(cluster, name),
		"bind_secret_id":          true,
		"secret_id_bound_cidrs":   []string{netip.PrefixFrom(address, address.BitLen()).String()},
		"secret_id_num_uses":      int64(0),
		"secret_id_ttl":           int64(0),
		"token_bound_cidrs":       []string{address.String()},
		"token_explicit_max_ttl":  int64(0),
		"token_max_ttl":           int64(0),
		"token_no_default_policy": true,
		"token_num_uses":          int64(0),
		"token_period":            int64(0),
		"token_policies":          []string{PolicyName(cluster, role)},
		"token_ttl":               int64(0),
		"token_type":              "service",
		"alias_metadata":          map[string]string{},
	}
	for k, v := range fields {
		f[k] = v
	}
	return f
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
