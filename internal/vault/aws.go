package vault

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// On AWS a machine needs no init token: it shows the document that says which instance it is, signed by AWS, and Vault asks
// AWS whether there is such an instance, running, in this VPC and with this instance profile. Each instance logs in once.
//
// Machines of their own, named by the file, are known by their instance profile. Members of groups come and go: they share
// the profile of their pool, and are called what Vault has read in their document. These are two mounts, since a mount
// either calls who logs in by the role or by the instance.

// AWS is where a cluster's instances are, and how Vault tells them from others.
type AWS struct {
	// Account, Region and VPC are where an instance must be; CIDR is the VPC's range.
	Account, Region, VPC string
	CIDR                 netip.Prefix
	// Pools are those whose machines come and go, and have no names in the file.
	Pools []AWSPool
	// Certificates sign identity documents, beside those of AWS that Vault has built in: by name, as PEM.
	Certificates map[string]string
	// Endpoints are where Vault asks, if it is not AWS.
	Endpoints AWSEndpoints
}

// AWSPool is a group of machines that come and go.
type AWSPool struct {
	Name string
	Role v1alpha1.Role
}

// AWSEndpoints are of stand-ins.
type AWSEndpoints struct{ EC2, IAM, STS string }

// AWSMachinePath and AWSPoolPath are where the two aws auth methods are mounted, below auth/.
func AWSMachinePath(cluster string) string { return cluster + "/aws-machine" }

// AWSPoolPath is that of the members of groups.
func AWSPoolPath(cluster string) string { return cluster + "/aws-pool" }

// awsRolePath is what a machine, or a member of a pool, logs in as.
func awsRolePath(mount, role string) string { return "auth/" + mount + "/role/" + role }

// poolMark stands in templates for the accessor of the pools' mount, which Vault chooses.
const poolMark = "<pool>"

// entityMember is how Vault's templates name the member of a group that asks: by what AWS has signed.
var entityMember = unit.MemberName(aliasMetadata("instance_id"), aliasMetadata("region"))

func aliasMetadata(key string) string {
	return "{{identity.entity.aliases." + poolMark + ".metadata." + key + "}}"
}

// InstanceProfile is the name of the instance profile of a machine, or of a pool.
func InstanceProfile(cluster, of string) string { return cluster + "-" + of }

// sts is the region's own endpoint: the one that is everybody's is elsewhere.
func (a AWS) sts() string {
	domain := "amazonaws.com"
	if strings.HasPrefix(a.Region, "cn-") {
		domain += ".cn"
	}
	return cmp.Or(a.Endpoints.STS, "https://sts."+a.Region+"."+domain)
}

func (a AWS) profile(cluster, of string) string {
	partition := "aws"
	for prefix, p := range map[string]string{"cn-": "aws-cn", "us-gov-": "aws-us-gov"} {
		if strings.HasPrefix(a.Region, prefix) {
			partition = p
		}
	}
	return "arn:" + partition + ":iam::" + a.Account + ":instance-profile/" + InstanceProfile(cluster, of)
}

// pools are those whose machines come and go.
func (in Input) pools() []AWSPool {
	if in.AWS == nil {
		return nil
	}
	return in.AWS.Pools
}

// self is how templates name a machine of a role. On AWS all machines of a role come and go, or none of them do.
func (in Input) self(role v1alpha1.Role) string {
	if slices.ContainsFunc(in.pools(), func(p AWSPool) bool { return p.Role == role }) {
		return entityMember
	}
	return entityMachine
}

// poolPolicy names the policy of a pool's members. No role is called so.
func poolPolicy(pool string) v1alpha1.Role { return v1alpha1.Role("pool-" + pool) }

// aws is what Vault needs to know machines on AWS.
func aws(in Input) []Object {
	if in.AWS == nil {
		return nil
	}
	c, a := in.Cluster, *in.AWS
	machines, pools := AWSMachinePath(c), AWSPoolPath(c)
	out := append(awsMount(in, machines, "machines on AWS that have names", "role_id"),
		awsMount(in, pools, "members of groups on AWS", "instance_id")...)
	for _, m := range in.Machines {
		address := netip.PrefixFrom(m.Address, m.Address.BitLen())
		out = append(out, Object{KindAWSRole, awsRolePath(machines, m.Name), awsRole(in, a.profile(c, m.Name), address, m.Role)})
	}
	for _, p := range a.Pools {
		out = append(out, Object{KindAWSRole, awsRolePath(pools, p.Name), awsRole(in, a.profile(c, p.Name), a.CIDR, poolPolicy(p.Name))})
	}
	return out
}

// awsMount is an aws auth method and how it is set. No credential is among it: Vault's own instance may ask.
func awsMount(in Input, path, description, alias string) []Object {
	config, a := "auth/"+path+"/config/", *in.AWS
	out := []Object{
		{KindAuth, "sys/auth/" + path, Fields{
			"type": "aws", "description": description, "default_lease_ttl": int64(0), "max_lease_ttl": seconds(in.LeafTTL),
		}},
		{KindAWSClient, config + "client", Fields{
			"access_key": "", "role_arn": "", "endpoint": a.Endpoints.EC2, "iam_endpoint": a.Endpoints.IAM, "sts_endpoint": a.sts(),
			"sts_region": a.Region, "use_sts_region_from_client": false, "iam_server_id_header_value": "", "allowed_sts_header_values": []string{},
			"max_retries": int64(2),
		}},
		{KindSetting, config + "identity", Fields{
			"ec2_alias": alias, "ec2_metadata": []string{"account_id", "auth_type", "instance_id", "region"},
		}},
		// Vault forgets who has logged in some days after the token's end. Documents do not end: whoever copied one could log
		// in then, as long as the instance runs.
		{KindSetting, config + "tidy/identity-accesslist", Fields{"disable_periodic_tidy": true}},
	}
	for name, text := range a.Certificates {
		out = append(out, Object{KindAWSCertificate, config + "certificate/" + name, Fields{"aws_public_cert": text, "type": "pkcs7"}})
	}
	return out
}

// awsRole lists every field that a role has. One login for each instance: what it has got it renews, as long as it runs.
func awsRole(in Input, profile string, from netip.Prefix, policy v1alpha1.Role) Fields {
	bound := from.String()
	if from.IsSingleIP() {
		bound = from.Addr().String() // as Vault writes it
	}
	return Fields{
		"auth_type":                      "ec2",
		"bound_account_id":               []string{in.AWS.Account},
		"bound_region":                   []string{in.AWS.Region},
		"bound_vpc_id":                   []string{in.AWS.VPC},
		"bound_iam_instance_profile_arn": []string{profile},
		"bound_ami_id":                   []string{},
		"bound_ec2_instance_id":          []string{},
		"bound_iam_role_arn":             []string{},
		"bound_subnet_id":                []string{},
		"disallow_reauthentication":      true,
		"allow_instance_migration":       false,
		"role_tag":                       "",
		"token_bound_cidrs":              []string{bound},
		"token_explicit_max_ttl":         int64(0),
		"token_max_ttl":                  int64(0),
		"token_no_default_policy":        true,
		"token_num_uses":                 int64(0),
		"token_period":                   seconds(in.LeafTTL),
		"token_policies":                 []string{PolicyName(in.Cluster, policy)},
		"token_ttl":                      int64(0),
		"token_type":                     "service",
	}
}

// awsPolicies are of the members of pools: they read what their pool shall be, and write what they are.
func awsPolicies(in Input) []Object {
	var out []Object
	for _, p := range in.pools() {
		rules := memberRules(in, p)
		out = append(out, Object{KindPolicy, "sys/policies/acl/" + PolicyName(in.Cluster, poolPolicy(p.Name)), Fields{"policy": render(rules)}})
	}
	return out
}

func memberRules(in Input, p AWSPool) []rule {
	return append(rulesFor(in, p.Role, p.Name, entityMember), sshMachineRules(in, sshMemberRole)...)
}

// awsOperatorRules let `plan` see how machines log in, and whoever reconciles find and shut out a member by its instance.
func awsOperatorRules(in Input) []rule {
	if in.AWS == nil {
		return nil
	}
	var out []rule
	for _, mount := range []string{AWSMachinePath(in.Cluster), AWSPoolPath(in.Cluster)} {
		auth := "auth/" + mount
		out = append(out,
			allow(auth+"/role", "list"), allow(auth+"/roles", "list"),
			allow(auth+"/role/+", "read"),
			allow(auth+"/config/client", "read"),
			allow(auth+"/config/identity", "read"),
			allow(auth+"/config/tidy/identity-accesslist", "read"),
			allow(auth+"/config/certificates", "list"),
			allow(auth+"/config/certificate/+", "read"),
			allow(auth+"/config/sts", "list"),
			allow(auth+"/identity-accesslist", "list"),
			allow(auth+"/identity-accesslist/+", "read delete").because("which instances have logged in; to forget one lets it do so again, as an init token does"),
		)
	}
	out = append(out, allow(in.Cluster+"/machines/metadata/+/"+Status, "delete").because("what a machine said that is gone"))
	lookup := allow("identity/lookup/entity", "update").because("a member of a group, by its instance")
	lookup.allowed = map[string][]any{"alias_name": nil, "alias_mount_accessor": nil}
	return append(out, lookup)
}

// awsAlias is of the entities of machines with names: their alias is the role that they log in by.
func awsAlias(in Input, m unit.Machine) string {
	return "auth/" + AWSMachinePath(in.Cluster) + "/ " + m.Name
}
