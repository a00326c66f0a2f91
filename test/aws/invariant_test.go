package aws

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// An invariant holds of every cluster. It returns what is wrong, and how many things it looked at: of none, nothing is known.
type invariant struct {
	name  string
	when  string // it can be told only of a plan, or only of a state
	check func(*view) (wrong []string, looked int)
}

var invariants = []invariant{
	{"machines are those that are declared", "", machinesAsDeclared},
	{"public addresses only where declared", "", publicAsDeclared},
	{"only the bastion is in a public subnet", "state", privateSubnets},
	{"metadata by sessions, one hop away", "", metadataBySession},
	{"volumes are encrypted", "", volumesEncrypted},
	{"no key pairs", "", noKeyPairs},
	{"buckets are closed, encrypted and versioned", "state", bucketsClosed},
	{"keys rotate", "", keysRotate},
	{"IAM allows no more than what is listed", "state", iamNarrow},
	{"each machine and pool has a profile of its own", "", profilesOfTheirOwn},
	{"security group rules are the declared ones", "state", rulesAsDeclared},
	{"no rules inside groups", "plan", noInlineRules},
	{"the default group is empty", "state", defaultGroupEmpty},
	{"public load balancers end TLS by today's policy", "", tlsPolicy},
	{"user data is small, and cloud-init's", "", userData},
	{"everything has the cluster's tag", "state", tagged},
}

func machinesAsDeclared(v *view) (wrong []string, looked int) {
	want := map[string]string{}
	for name, m := range v.vars["machines"].(map[string]any) {
		want[name] = m.(map[string]any)["role"].(string)
	}
	for _, r := range v.of("aws_instance") {
		looked++
		tags, _ := at(r, "tags").(map[string]any)
		name, role := fmt.Sprint(tags["ashlar.dev/machine"]), fmt.Sprint(tags["ashlar.dev/role"])
		if want[name] != role {
			wrong = append(wrong, fmt.Sprintf("%s is %s of role %s, and was declared as %q", r.Address, name, role, want[name]))
		}
		delete(want, name)
	}
	groups := maps.Clone(v.vars["groups"].(map[string]any))
	for _, r := range v.of("aws_autoscaling_group") {
		looked++
		g, is := groups[key(r)].(map[string]any)
		if !is || fmt.Sprint(g["min"], g["max"]) != text(r, "min_size")+" "+text(r, "max_size") {
			wrong = append(wrong, r.Address+" is not as declared")
		}
		delete(groups, key(r))
	}
	for name := range want {
		wrong = append(wrong, name+" was declared, and is not there")
	}
	for name := range groups {
		wrong = append(wrong, "the group "+name+" was declared, and is not there")
	}
	return wrong, looked
}

func publicAsDeclared(v *view) (wrong []string, looked int) {
	// Elastic addresses: NAT's and the bastion's.
	for _, r := range v.of("aws_eip") {
		looked++
		nat := r.Address == fmt.Sprintf("module.hub.aws_eip.nat[%q]", key(r))
		bastion := r.Address == fmt.Sprintf("module.hub.aws_eip.bastion[%q]", key(r)) && v.vars.machine(key(r))["role"] == "bastion"
		if !nat && !bastion {
			wrong = append(wrong, r.Address+" is a public address that is not NAT's or the bastion's")
		}
	}
	if n := len(v.of("aws_eip_association")); n > 0 {
		wrong = append(wrong, "elastic addresses are given away apart from where they are made")
	}
	for _, r := range v.of("aws_subnet") {
		looked++
		if at(r, "map_public_ip_on_launch") != false {
			wrong = append(wrong, r.Address+" gives public addresses to whatever is launched in it")
		}
	}
	for _, r := range v.of("aws_launch_template") {
		for _, i := range list(r, "network_interfaces") {
			looked++
			if given := i.(map[string]any)["associate_public_ip_address"]; given != "false" {
				wrong = append(wrong, r.Address+" does not say that its machines have no public address")
			}
		}
		if len(list(r, "network_interfaces")) != 1 {
			wrong = append(wrong, r.Address+" does not have the one network interface")
		}
	}
	for _, r := range v.of("aws_instance") {
		looked++
		if len(list(r, "primary_network_interface")) != 1 && len(list(r, "network_interface")) != 1 {
			wrong = append(wrong, r.Address+" has no interface of its own, so that its subnet decides about a public address")
		}
	}
	want := map[string]bool{}
	for _, s := range v.vars["services"].([]any) {
		want[fmt.Sprintf("%s-%s", v.vars["cluster"], s.(map[string]any)["name"])] = true
	}
	for _, r := range v.of("aws_lb") {
		looked++
		switch name := text(r, "name"); {
		case at(r, "internal") == true:
		case !want[name]:
			wrong = append(wrong, r.Address+" is public and not declared")
		default:
			delete(want, name)
		}
	}
	for name := range want {
		wrong = append(wrong, "the service "+name+" was declared, and is not public")
	}
	return wrong, looked
}

func privateSubnets(v *view) (wrong []string, looked int) {
	public := map[string]bool{}
	for _, r := range v.of("aws_subnet") {
		public[text(r, "id")] = r.Name == "public"
	}
	if existing, is := v.vars["existing_vpc"].(map[string]any); is {
		for _, id := range existing["public_subnet_ids"].([]any) {
			public[id.(string)] = true
		}
		for _, id := range existing["private_subnet_ids"].([]any) {
			public[id.(string)] = false
		}
	}
	check := func(address, subnet string, may bool) {
		looked++
		if in, known := public[subnet]; !known || in != may {
			wrong = append(wrong, fmt.Sprintf("%s is in the subnet %q, which is known: %t, public: %t", address, subnet, known, in))
		}
	}
	for _, r := range v.of("aws_network_interface") {
		check(r.Address, text(r, "subnet_id"), r.Address == "module.hub.aws_network_interface.bastion[\"bastion-0\"]")
	}
	for _, r := range v.of("aws_autoscaling_group") {
		for _, id := range list(r, "vpc_zone_identifier") {
			check(r.Address, id.(string), false)
		}
	}
	for _, r := range v.of("aws_lb") {
		for _, id := range list(r, "subnets") {
			check(r.Address, id.(string), at(r, "internal") == false)
		}
	}
	return wrong, looked
}

func metadataBySession(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_instance", "aws_launch_template") {
		looked++
		for name, want := range map[string]string{"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": "1"} {
			if have := text(r, "metadata_options."+name); have != want {
				wrong = append(wrong, fmt.Sprintf("%s: %s is %q", r.Address, name, have))
			}
		}
	}
	return wrong, looked
}

func volumesEncrypted(v *view) (wrong []string, looked int) {
	check := func(address string, encrypted any) {
		looked++
		if fmt.Sprint(encrypted) != "true" {
			wrong = append(wrong, address+" is not encrypted")
		}
	}
	for _, r := range v.of("aws_ebs_volume") {
		check(r.Address, at(r, "encrypted"))
	}
	for _, r := range v.of("aws_instance") {
		check(r.Address+"'s root", at(r, "root_block_device.encrypted"))
		for _, d := range list(r, "ebs_block_device") {
			check(r.Address+"'s other", d.(map[string]any)["encrypted"])
		}
	}
	for _, r := range v.of("aws_launch_template") {
		devices := list(r, "block_device_mappings")
		if len(devices) == 0 {
			wrong = append(wrong, r.Address+" leaves its disk to the image")
		}
		for _, d := range devices {
			ebs, _ := d.(map[string]any)["ebs"].([]any)
			for _, e := range ebs {
				check(r.Address+"'s", e.(map[string]any)["encrypted"])
			}
		}
	}
	return wrong, looked
}

func noKeyPairs(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_instance", "aws_launch_template") {
		looked++
		if text(r, "key_name") != "" {
			wrong = append(wrong, r.Address+" has a key pair")
		}
	}
	return wrong, looked
}

func bucketsClosed(v *view) (wrong []string, looked int) {
	closed := map[string]map[string]bool{}
	mark := func(bucket, what string, yes bool) {
		if closed[bucket] == nil {
			closed[bucket] = map[string]bool{}
		}
		closed[bucket][what] = yes
	}
	for _, r := range v.of("aws_s3_bucket_public_access_block") {
		all := true
		for _, name := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
			all = all && at(r, name) == true
		}
		mark(text(r, "bucket"), "closed to the public", all)
	}
	for _, r := range v.of("aws_s3_bucket_server_side_encryption_configuration") {
		how := text(r, "rule.apply_server_side_encryption_by_default.sse_algorithm")
		mark(text(r, "bucket"), "encrypted", how == "AES256" || how == "aws:kms")
	}
	for _, r := range v.of("aws_s3_bucket_versioning") {
		mark(text(r, "bucket"), "versioned", text(r, "versioning_configuration.status") == "Enabled")
	}
	for _, r := range v.of("aws_s3_bucket_ownership_controls") {
		mark(text(r, "bucket"), "without ACLs", text(r, "rule.object_ownership") == "BucketOwnerEnforced")
	}
	for _, r := range v.of("aws_s3_bucket_policy") {
		tls := false
		for _, s := range statements(text(r, "policy")) {
			tls = tls || s.Effect == "Deny" && slices.Equal(s.Action, texts{"s3:*"}) && fmt.Sprint(s.Condition) == "map[Bool:map[aws:SecureTransport:false]]" &&
				len(s.Resource) == 2 && strings.HasSuffix(s.Resource[0], ":::"+text(r, "bucket")) && s.Resource[1] == s.Resource[0]+"/*"
		}
		mark(text(r, "bucket"), "asked over TLS only", tls)
	}
	for _, r := range v.of("aws_s3_bucket") {
		for _, what := range []string{"closed to the public", "encrypted", "versioned", "without ACLs", "asked over TLS only"} {
			looked++
			if !closed[text(r, "bucket")][what] {
				wrong = append(wrong, fmt.Sprintf("%s is not %s", r.Address, what))
			}
		}
	}
	return wrong, looked
}

func keysRotate(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_kms_key") {
		looked++
		if at(r, "enable_key_rotation") != true {
			wrong = append(wrong, r.Address+" does not rotate")
		}
	}
	return wrong, looked
}

func profilesOfTheirOwn(v *view) (wrong []string, looked int) {
	uses := map[string][]string{}
	for _, r := range v.of("aws_instance") {
		uses[text(r, "iam_instance_profile")] = append(uses[text(r, "iam_instance_profile")], r.Address)
	}
	for _, r := range v.of("aws_launch_template") {
		name := text(r, "iam_instance_profile.name")
		uses[name] = append(uses[name], r.Address)
	}
	var want []string
	for name := range v.vars["machines"].(map[string]any) {
		want = append(want, fmt.Sprintf("%s-%s", v.vars["cluster"], name))
	}
	for name := range v.vars["groups"].(map[string]any) {
		want = append(want, fmt.Sprintf("%s-%s", v.vars["cluster"], name))
	}
	for _, name := range want {
		looked++
		if len(uses[name]) != 1 {
			wrong = append(wrong, fmt.Sprintf("the profile %s is used by %v", name, uses[name]))
		}
	}
	return wrong, looked
}

func noInlineRules(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_security_group_rule") {
		wrong = append(wrong, r.Address+" is a rule of the old kind")
	}
	var within func(path string, m *tfjson.ConfigModule)
	within = func(path string, m *tfjson.ConfigModule) {
		for _, r := range m.Resources {
			if r.Type != "aws_security_group" {
				continue
			}
			looked++
			if r.Expressions["ingress"] != nil || r.Expressions["egress"] != nil {
				wrong = append(wrong, path+r.Address+" has rules inside it, in which those apart are lost")
			}
		}
		for name, call := range m.ModuleCalls {
			within(path+"module."+name+".", call.Module)
		}
	}
	if v.config != nil {
		within("", v.config.RootModule)
	}
	return wrong, looked
}

func defaultGroupEmpty(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_default_security_group") {
		looked++
		if len(list(r, "ingress"))+len(list(r, "egress")) > 0 {
			wrong = append(wrong, r.Address+" opens something")
		}
	}
	if v.vars["existing_vpc"] != nil {
		looked++ // it is its owner's
	}
	return wrong, looked
}

func tlsPolicy(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_lb_listener") {
		looked++
		if text(r, "protocol") == "HTTPS" && text(r, "ssl_policy") != "ELBSecurityPolicy-TLS13-1-2-2021-06" {
			wrong = append(wrong, r.Address+" takes TLS before 1.2")
		}
		if p := text(r, "protocol"); p != "HTTPS" && p != "TCP" {
			wrong = append(wrong, r.Address+" speaks "+p)
		}
	}
	return wrong, looked
}

func userData(v *view) (wrong []string, looked int) {
	for _, r := range v.of("aws_instance", "aws_launch_template") {
		looked++
		said := text(r, "user_data")
		if r.Type == "aws_launch_template" {
			plain, err := base64.StdEncoding.DecodeString(said)
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: the user data is not base64: %v", r.Address, err))
			}
			said = string(plain)
		}
		if len(said) > 16<<10 || !strings.HasPrefix(said, "#cloud-config\n") && !strings.HasPrefix(said, "Content-Type: multipart/mixed;") {
			wrong = append(wrong, fmt.Sprintf("%s: %d bytes of user data, beginning %.20q", r.Address, len(said), said))
		}
	}
	return wrong, looked
}

func tagged(v *view) (wrong []string, looked int) {
	for _, r := range v.resources {
		all, has := r.AttributeValues["tags_all"]
		if !has {
			continue
		}
		looked++
		if tags, _ := all.(map[string]any); tags["ashlar.dev/cluster"] != v.vars["cluster"] {
			wrong = append(wrong, r.Address+" has no tag of the cluster's")
		}
	}
	return wrong, looked
}

// secrets are what a secret looks like. What is in plan and state is looked through as a whole.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`),
	regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b`),
	regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{20,}`),
	regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36}`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.`),
	regexp.MustCompile(`://[^/\s:@"]+:[^/\s:@"]+@`),
	regexp.MustCompile(`(?i)"[a-z_]*(password|secret|private_key|passphrase|access_key|credential)[a-z_]*"\s*:\s*"[^"]+"`),
	regexp.MustCompile(`(?i)\b(password|passwd|secret|token)\s*[:=]\s*\\?["']?[A-Za-z0-9+/_-]{12,}`),
}

var encoded = regexp.MustCompile(`"[A-Za-z0-9+/]{200,}={0,2}"`)

// secretsIn are those in a plan or a state, user data in base64 included.
func secretsIn(all string) []string {
	for _, e := range encoded.FindAllString(all, -1) {
		if plain, err := base64.StdEncoding.DecodeString(strings.Trim(e, `"`)); err == nil {
			all += "\n" + string(plain)
		}
	}
	var found []string
	for _, s := range secrets {
		found = append(found, s.FindAllString(all, -1)...)
	}
	return found
}
