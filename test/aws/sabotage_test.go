package aws

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/test/aws/sim"
)

// TestSabotage: each invariant notices when the modules break it. What is changed is a line of theirs, until the end of the case.
func TestSabotage(t *testing.T) {
	begin := func(name string) sabotaged { return sabotaged{start(t, read(t, name)), read(t, name)} }
	single, ha := begin("aws-single"), begin("aws-ha")
	for _, s := range []struct {
		invariant, file, old, new string
	}{
		{"machines are those that are declared", "hub/vault.tf", `"ashlar.dev/role" = "vault"`, `"ashlar.dev/role" = "etcd"`},
		{"machines are those that are declared", "cluster/workers.tf", "max_size            = each.value.max", "max_size            = 99"},
		{"public addresses only where declared", "hub/vault.tf", "resource \"aws_ebs_volume\"",
			"resource \"aws_eip\" \"vault\" {\n  network_interface = aws_network_interface.vault[\"vault-0\"].id\n}\n\nresource \"aws_ebs_volume\""},
		{"public addresses only where declared", "cluster/workers.tf", "associate_public_ip_address = false", "associate_public_ip_address = true"},
		{"public addresses only where declared", "hub/network.tf", "map_public_ip_on_launch = false", "map_public_ip_on_launch = true"},
		{"public addresses only where declared", "cluster/nlb.tf", "internal                         = true", "internal                         = false"},
		{"public addresses only where declared", "jenkins/alb.tf", "internal                   = false", "internal                   = true"},
		{"only the bastion is in a public subnet", "hub/vault.tf", "local.private_subnet_ids[each.value.zone]", "local.public_subnet_ids[each.value.zone]"},
		{"only the bastion is in a public subnet", "cluster/nlb.tf", "var.network.private_subnet_ids", "var.network.public_subnet_ids"},
		{"metadata by sessions, one hop away", "cluster/etcd.tf", `http_tokens                 = "required"`, `http_tokens                 = "optional"`},
		{"metadata by sessions, one hop away", "cluster/workers.tf", "http_put_response_hop_limit = 1", "http_put_response_hop_limit = 2"},
		{"volumes are encrypted", "cluster/etcd.tf", "  size              = each.value.data_volume_gib\n  encrypted         = true", "  size              = each.value.data_volume_gib"},
		{"volumes are encrypted", "jenkins/machine.tf", "encrypted   = true", "encrypted   = false"},
		{"volumes are encrypted", "cluster/controlplane.tf", "encrypted             = true", "encrypted             = false"},
		{"no key pairs", "hub/bastion.tf", "  instance_type        = each.value.instance_type", "  instance_type        = each.value.instance_type\n  key_name             = \"mine\""},
		{"buckets are closed, encrypted and versioned", "hub/buckets.tf", "restrict_public_buckets = true", "restrict_public_buckets = false"},
		{"buckets are closed, encrypted and versioned", "hub/buckets.tf", `status = "Enabled"`, `status = "Suspended"`},
		{"buckets are closed, encrypted and versioned", "hub/buckets.tf", `"aws:SecureTransport" = "false"`, `"aws:SecureTransport" = "true"`},
		{"keys rotate", "hub/kms.tf", "enable_key_rotation     = true", "enable_key_rotation     = false"},
		{"IAM allows no more than what is listed", "cluster/iam.tf", `Action   = "s3:GetObject"`, `Action   = "s3:*"`},
		{"IAM allows no more than what is listed", "hub/iam.tf", `Resource = aws_kms_key.this["vault"].arn`, `Resource = "*"`},
		{"each machine and pool has a profile of its own", "cluster/workers.tf", "aws_iam_instance_profile.this[each.key].name", `aws_iam_instance_profile.this["worker"].name`},
		{"security group rules are the declared ones", "hub/security.tf", `r.from == "operator" ? "bastion" : r.from`, `r.from == "operator" ? "worker" : r.from`},
		{"security group rules are the declared ones", "hub/security.tf", "security_group_id = aws_security_group.role[each.value.to].id", `security_group_id = aws_security_group.role["vault"].id`},
		{"no rules inside groups", "hub/security.tf", `  tags = { Name = "${var.cluster}-${each.key}" }`,
			"  egress {\n    protocol    = \"-1\"\n    from_port   = 0\n    to_port     = 0\n    cidr_blocks = [\"0.0.0.0/0\"]\n  }\n"},
		{"the default group is empty", "hub/network.tf", `  tags = { Name = "${var.cluster}-default-closed" }`,
			"  ingress {\n    protocol  = \"-1\"\n    from_port = 0\n    to_port   = 0\n    self      = true\n  }\n"},
		{"public load balancers end TLS by today's policy", "foreman/alb.tf", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-2016-08"},
		{"user data is small, and cloud-init's", "hub/vault.tf", "user_data            = local.user_data[each.key]", "user_data            = \"echo\""},
		{"everything has the cluster's tag", "main.tf", `"ashlar.dev/cluster" = var.cluster`, `"ashlar.dev/other" = var.cluster`},
	} {
		t.Run(s.invariant+" "+s.file, func(t *testing.T) {
			c := single
			if !strings.HasPrefix(s.file, "hub/") && !strings.HasPrefix(s.file, "cluster/etcd") {
				c = ha // which has Jenkins, Foreman and several groups
			}
			i := slices.IndexFunc(invariants, func(i invariant) bool { return i.name == s.invariant })
			if i < 0 {
				t.Fatalf("there is no invariant %q", s.invariant)
			}
			edit(t, filepath.Join(c.Dir, s.file), s.old, s.new)
			v := planView(c.vars, planned(t, c.Module, c.vars))
			if invariants[i].when == "state" {
				state, err := c.Apply(c.vars)
				if err != nil {
					t.Fatal(err)
				}
				v = look(c.vars, state.Values.RootModule)
			}
			wrong, _ := invariants[i].check(v)
			if len(wrong) == 0 {
				t.Errorf("not noticed: %s instead of %s in %s", s.new, s.old, s.file)
			}
			t.Log(strings.Join(wrong, "; "))
		})
	}
}

// sabotaged is a copy of the modules that is changed again and again.
type sabotaged struct {
	*sim.Module
	vars variables
}

func edit(t *testing.T, path, old, new string) {
	t.Helper()
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(have), old) {
		t.Fatalf("%s has no %q: the sabotage is of an older file", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(have), old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, have, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSecretsAreSeen: a secret in a plan is found, in plain and in user data.
func TestSecretsAreSeen(t *testing.T) {
	vars := read(t, "aws-ha")
	m := start(t, vars)
	for what, to := range map[string]string{
		"hub/outputs.tf":                  "output \"canary\" {\n  value       = \"hvs.CAESIJ0123456789abcdefghijklmnop\"\n  description = \"x\"\n}\n",
		"user-data.yaml.tftpl":            "password: hunter2hunter2hunter2\n",
		"jenkins/cloud-config.yaml.tftpl": "# https://robot:hunter2@git.example.org\n",
	} {
		path := filepath.Join(m.Dir, what)
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(string(have)+"\n"+to), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, err := m.PlanJSON(vars)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, have, 0o600); err != nil {
			t.Fatal(err)
		}
		if len(secretsIn(string(plan))) == 0 {
			t.Errorf("a secret in %s was not seen in the plan", what)
		}
	}
}

// TestRefused: what cannot be right is refused before anything is planned, and the message says what to do.
func TestRefused(t *testing.T) {
	vars := read(t, "aws-ha")
	m := sim.New(t, modules)
	for _, c := range []struct {
		change func(variables)
		want   string
	}{
		{func(v variables) { v["cluster"] = "Demo" }, "cluster must be a DNS label"},
		{func(v variables) { v["zones"] = []any{"eu-west-1a"} }, "zones must be in the region"},
		{func(v variables) { v["vpc_cidr"] = "10.0.0.0/24" }, "vpc_cidr must be an IPv4 range of /16 to /22"},
		{func(v variables) { v["trusted_cidrs"] = []any{"198.51.100.0"} }, "trusted_cidrs must be IPv4 ranges"},
		{func(v variables) { delete(v["machines"].(map[string]any), "etcd-2") }, "must have 1, 3 or 5"},
		{func(v variables) { v.machine("etcd-0")["data_volume_gib"] = 0 }, "must have a data volume"},
		{func(v variables) { v.machine("jenkins-0")["zone"] = 3 }, "zone must be the place of a zone"},
		{func(v variables) { v.group("control-plane")["spot"] = true }, "must not be spot instances"},
		{func(v variables) { v.group("builds")["taints"] = []any{"builds"} }, "taints must be written"},
		{func(v variables) { v["jenkins"].(map[string]any)["repository"] = "https://robot:x@git.example.org/x" }, "a secret must not be written here"},
		{func(v variables) { v["services"].([]any)[0].(map[string]any)["certificate_arn"] = "" }, "not served without TLS"},
		{func(v variables) {
			v["rules"] = append(v["rules"].([]any), map[string]any{"from": "trusted", "to": "vault", "protocol": "tcp", "port": 8200, "why": "x"})
		}, "nothing else can be opened to trusted"},
	} {
		_, err := m.Plan(vars.with(c.change))
		if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}
