package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// Vault is the CA of SSH, too: of people's certificates, and of machines' host keys. It only is where there is a bastion.

const (
	// KindSSHCA is the key of an SSH CA, KindSSHRole what it signs for whom.
	KindSSHCA   Kind = "SSH CA"
	KindSSHRole Kind = "SSH role"
)

// sshKeyType is that of the CAs' keys.
const sshKeyType = "ssh-ed25519"

// SSHTTL is how long a person's certificate is good: a session that has begun goes on.
const SSHTTL = 5 * time.Minute

// The two SSH CAs.
const (
	SSHUsers = "user"
	SSHHosts = "host"
)

// SSHPath is where an SSH engine is mounted. An engine has one key: that of a CA's successor is in another, which has the CA's
// name and a "-" before its own.
func SSHPath(cluster, engine string) string { return cluster + "/ssh/" + engine }

// SSHEngines names, of each SSH CA, the engines that have a key of it. Where there are two, the first signs.
type SSHEngines map[string][]string

// FirstSSHEngines are those that a cluster begins with.
func FirstSSHEngines() SSHEngines { return SSHEngines{SSHUsers: {SSHUsers}, SSHHosts: {SSHHosts}} }

// sshCAOf is the CA that an engine has a key of.
func sshCAOf(engine string) string {
	ca, _, _ := strings.Cut(engine, "-")
	return ca
}

// sshEngineNames are all engines.
func (in Input) sshEngineNames() []string {
	engines := in.SSHEngines
	if engines == nil {
		engines = FirstSSHEngines()
	}
	return slices.Sorted(slices.Values(slices.Concat(engines[SSHUsers], engines[SSHHosts])))
}

// sshEnginesOf are those of one CA.
func (in Input) sshEnginesOf(ca string) []string {
	return slices.DeleteFunc(in.sshEngineNames(), func(engine string) bool { return sshCAOf(engine) != ca })
}

// sshGroupRole is by which the users of a group get certificates.
func sshGroupRole(group string) string { return "group-" + group }

// sshBriefRole is that of the operator's certificates that `ashlar verify` lets expire.
const sshBriefRole = "operator-brief"

// sshMachineRole is by which machines do.
const sshMachineRole = "machine"

// sshMemberRole is by which members of groups on AWS do.
const sshMemberRole = "member"

func (in Input) bastion() bool {
	return slices.ContainsFunc(in.Machines, func(m unit.Machine) bool { return m.Role == v1alpha1.RoleBastion })
}

// sshEngines are two engines with their CAs, a role for machines, one for the operator, and one for each group that may enter some.
func sshEngines(in Input) []Object {
	if !in.bastion() {
		return nil
	}
	var out []Object
	descriptions := map[string]string{SSHUsers: "SSH CA of people", SSHHosts: "SSH CA of host keys"}
	for _, engine := range in.sshEngineNames() {
		path, description := SSHPath(in.Cluster, engine), descriptions[sshCAOf(engine)]
		out = append(out,
			Object{KindMount, "sys/mounts/" + path, Fields{
				"type": "ssh", "description": description, "version": "", "default_lease_ttl": int64(0), "max_lease_ttl": int64(0),
				// What is issued to whom must be found in the audit logs.
				"audit_non_hmac_request_keys":  []string{"cert_type", "public_key", "valid_principals"},
				"audit_non_hmac_response_keys": []string{"serial_number", "signed_key"},
			}},
			Object{KindSSHCA, path + "/config/ca", Fields{"key_type": sshKeyType}})
	}
	host := sshRole(in.LeafTTL)
	host["allow_host_certificates"], host["allow_bare_domains"] = true, true
	host["allowed_domains"], host["allowed_domains_template"] = entityMachine, true
	host["key_id_format"] = "host"
	member := maps.Clone(host)
	member["allowed_domains"] = entityMember
	for _, engine := range in.sshEnginesOf(SSHHosts) {
		out = append(out, Object{KindSSHRole, SSHPath(in.Cluster, engine) + "/roles/" + sshMachineRole, host})
		if in.AWS != nil {
			out = append(out, Object{KindSSHRole, SSHPath(in.Cluster, engine) + "/roles/" + sshMemberRole, member})
		}
	}
	users := func(role, id string, ttl time.Duration, may func(v1alpha1.Role) bool) {
		principals := []string{unit.JumpUser}
		for _, m := range in.Machines {
			if may(m.Role) {
				principals = append(principals, m.Name)
			}
		}
		for _, p := range in.pools() {
			if may(p.Role) {
				principals = append(principals, unit.PoolPrincipal(p.Name))
			}
		}
		r := sshRole(ttl)
		r["allow_user_certificates"], r["key_id_format"] = true, id
		r["allowed_users"] = strings.Join(principals, ",")
		r["default_extensions"] = map[string]string{"permit-pty": "", "permit-port-forwarding": ""}
		for _, engine := range in.sshEnginesOf(SSHUsers) {
			out = append(out, Object{KindSSHRole, SSHPath(in.Cluster, engine) + "/roles/" + role, r})
		}
	}
	all := func(v1alpha1.Role) bool { return true }
	users(Operator, Operator, SSHTTL, all)
	users(sshBriefRole, Operator, time.Second, all)
	for _, g := range in.SSH {
		// The name that Vault gives to a user's session: unit.SSHKeyID.
		users(sshGroupRole(g.Group), "{{token_display_name}}", SSHTTL, func(r v1alpha1.Role) bool { return slices.Contains(g.Roles, r) })
	}
	for _, r := range in.sshRobots() {
		users(robotID(in.Cluster, r.Name), unit.SSHRobotID(in.Cluster, r.Name), SSHTTL, func(role v1alpha1.Role) bool {
			return slices.ContainsFunc(in.SSH, func(g v1alpha1.SSHGrant) bool {
				return slices.Contains(r.Groups, g.Group) && slices.Contains(g.Roles, role)
			})
		})
	}
	return out
}

// sshRobots are the robots in a group that may enter some machine. Of their groups Vault only knows what the file says, so each has a
// role of its own.
func (in Input) sshRobots() []v1alpha1.Robot {
	return slices.DeleteFunc(slices.Clone(in.Robots), func(r v1alpha1.Robot) bool {
		return !slices.ContainsFunc(in.SSH, func(g v1alpha1.SSHGrant) bool { return slices.Contains(r.Groups, g.Group) })
	})
}

// sshRole lists every field that an SSH role has, also those that are as Vault has them by default.
func sshRole(ttl time.Duration) Fields {
	return Fields{
		"key_type": "ca", "ttl": seconds(ttl), "max_ttl": seconds(ttl),
		// Machines' clocks may be behind.
		"not_before_duration":         int64(30),
		"allow_user_certificates":     false,
		"allow_host_certificates":     false,
		"allow_user_key_ids":          false,
		"allow_empty_principals":      false, // which would be good for anybody
		"allow_bare_domains":          false,
		"allow_subdomains":            false,
		"allowed_domains":             "",
		"allowed_domains_template":    false,
		"allowed_users":               "",
		"allowed_users_template":      false,
		"default_user":                "",
		"default_user_template":       false,
		"allowed_critical_options":    "",
		"default_critical_options":    map[string]string{},
		"allowed_extensions":          "",
		"default_extensions":          map[string]string{},
		"default_extensions_template": false,
		"allowed_user_key_lengths":    map[string][]int64{"ed25519": {0}},
		"algorithm_signer":            "default",
		"key_id_format":               "",
	}
}

// sshSign lets somebody have a certificate of one role signed. Naming the parameters keeps out those that roles do not limit.
func sshSign(in Input, ca, role, why string) []rule {
	var out []rule
	for _, engine := range in.sshEnginesOf(ca) {
		r := allow(SSHPath(in.Cluster, engine)+"/sign/"+role, "update").because(why)
		r.allowed = map[string][]any{"public_key": nil, "cert_type": {ca}, "valid_principals": nil}
		out = append(out, r)
	}
	return out
}

// sshMachineRules, sshPeopleRules and sshOperatorRules are what is about SSH in policies.
func sshMachineRules(in Input, role string) []rule {
	if !in.bastion() {
		return nil
	}
	return sshSign(in, SSHHosts, role, "its own host key")
}

// Of a template that names a group Vault makes nothing for who is not in it.
func sshPeopleRules(in Input) []rule {
	if !in.bastion() {
		return nil
	}
	var rules []rule
	for _, g := range in.SSH {
		rules = append(rules, sshSign(in, SSHUsers, sshGroupRole("{{identity.groups.names."+g.Group+".name}}"), "only for who is in that group")...)
	}
	if len(in.sshRobots()) > 0 {
		rules = append(rules, sshSign(in, SSHUsers, "{{identity.entity.name}}", "only for a robot that may")...)
	}
	return rules
}

func sshOperatorRules(in Input) []rule {
	if !in.bastion() {
		return nil
	}
	c := in.Cluster
	return append(append(sshSign(in, SSHUsers, Operator, "`ashlar ssh`"), sshSign(in, SSHUsers, sshBriefRole, "`ashlar verify`, to show it when it has expired")...),
		allow(c+"/ssh/+/config/ca", "read").because("read the layout"),
		allow(c+"/ssh/+/roles", "list"),
		allow(c+"/ssh/+/roles/+", "read"),
	)
}

// observeSSHCAs reads the public keys: that there is one, of the right kind.
func observeSSHCAs(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.want.of(KindSSHCA), func(ctx context.Context, want Object) ([]Object, error) {
		key, err := o.sshCA(ctx, want.Path)
		if err != nil || key == "" {
			return nil, err
		}
		kind, _, _ := strings.Cut(key, " ")
		return []Object{{KindSSHCA, want.Path, Fields{"key_type": kind}}}, nil
	})
}

func writeSSHCA(ctx context.Context, c *Client, want Object, have *Object) error {
	if have != nil {
		return errors.New("this is not the CA that was made for the cluster, and every host key hangs on it: rotate it")
	}
	return c.put(ctx, want.Path, Fields{"generate_signing_key": true, "key_type": want.Fields["key_type"]}, nil)
}

// sshCA is a CA's public key; empty if there is none yet.
func (c *Client) sshCA(ctx context.Context, path string) (string, error) {
	var out struct {
		Key string `json:"public_key"`
	}
	err := c.get(ctx, path, &out)
	var refused *Error
	if errors.Is(err, ErrNotFound) || errors.As(err, &refused) && refused.says("keys haven't been configured") {
		return "", nil
	}
	return strings.TrimSpace(out.Key), err
}

func observeSSHRoles(ctx context.Context, o observer) ([]Object, error) {
	var mounts []string
	for _, ca := range o.want.of(KindSSHCA) {
		mounts = append(mounts, strings.TrimSuffix(ca.Path, "/config/ca"))
	}
	return gather(ctx, mounts, func(ctx context.Context, mount string) ([]Object, error) {
		return o.readAll(ctx, KindSSHRole, mount+"/roles", nil, o.fields)
	})
}
