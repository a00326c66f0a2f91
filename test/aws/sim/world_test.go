package sim

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What was changed or removed behind tofu's back, the next plan mends.
func TestDrift(t *testing.T) {
	m := module(t, two)
	if _, err := m.Apply(nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Change(func(all map[string]map[string]Object) {
		for id, subnet := range all["aws_subnet"] {
			if subnet["cidr_block"] == "10.0.1.0/24" {
				subnet["map_public_ip_on_launch"] = true
			} else {
				delete(all["aws_subnet"], id)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	plan, err := m.Plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Changes(plan), map[string]string{"aws_subnet.a": "update", "aws_subnet.b": "create"}; !maps.Equal(got, want) {
		t.Errorf("the plan would do %v, want %v", got, want)
	}
	if len(plan.ResourceDrift) != 2 {
		t.Errorf("%d objects have drifted, as the plan has it, want 2", len(plan.ResourceDrift))
	}
}

const existing = `
data "aws_vpc" "there" {
  id = "vpc-there"
}

data "aws_subnets" "there" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.there.id]
  }

  tags = { tier = "private" }
}

output "found" {
  value = { cidr = data.aws_vpc.there.cidr_block, subnets = data.aws_subnets.there.ids }
}
`

// Data sources find what was there before, and say so if there is nothing.
func TestExisting(t *testing.T) {
	m := module(t, existing)
	if _, err := m.Plan(nil); err == nil || !strings.Contains(words(err), "no matching vpc found") {
		t.Errorf("planning with a network that is not there: %v", err)
	}
	if err := m.Change(func(all map[string]map[string]Object) {
		all["aws_vpc"] = map[string]Object{"vpc-there": {"id": "vpc-there", "cidr_block": "10.1.0.0/16"}}
		all["aws_subnet"] = map[string]Object{
			"subnet-1": {"id": "subnet-1", "vpc_id": "vpc-there", "tags": map[string]string{"tier": "private"}},
			"subnet-2": {"id": "subnet-2", "vpc_id": "vpc-there", "tags": map[string]string{"tier": "public"}},
			"subnet-3": {"id": "subnet-3", "vpc_id": "vpc-else", "tags": map[string]string{"tier": "private"}},
		}
	}); err != nil {
		t.Fatal(err)
	}
	plan, err := m.Plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"cidr": "10.1.0.0/16", "subnets": []any{"subnet-1"}}
	if diff := cmp.Diff(want, plan.OutputChanges["found"].After); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

const policies = `
data "aws_caller_identity" "me" {}

data "aws_iam_policy_document" "some" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = ["arn:aws:s3:::demo", "arn:aws:s3:::demo/&{aws:username}/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [data.aws_caller_identity.me.account_id]
    }
  }

  statement {
    effect      = "Deny"
    not_actions = ["s3:*"]
    resources   = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

data "aws_iam_policy_document" "more" {
  source_policy_documents = [data.aws_iam_policy_document.some.json]

  override_policy_documents = [jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Read", Effect = "Deny", Action = "s3:GetObject", Resource = "*" }]
  })]

  statement {
    actions   = ["sts:AssumeRole"]
    resources = ["*"]
  }
}

output "some" {
  value = data.aws_iam_policy_document.some.json
}

output "more" {
  value = data.aws_iam_policy_document.more.json
}
`

// Policies are rendered as the provider does.
func TestPolicies(t *testing.T) {
	plan, err := module(t, policies).Plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	some := `{"Version": "2012-10-17", "Statement": [
		{"Sid": "Read", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::demo/${aws:username}/*", "arn:aws:s3:::demo"],
		 "Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}},
		{"Effect": "Deny", "NotAction": "s3:*", "Resource": "*", "Principal": {"AWS": "*"}}]}`
	more := `{"Version": "2012-10-17", "Statement": [
		{"Sid": "Read", "Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"},
		{"Effect": "Deny", "NotAction": "s3:*", "Resource": "*", "Principal": {"AWS": "*"}},
		{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}`
	for name, want := range map[string]string{"some": some, "more": more} {
		var got, wanted any
		if err := json.Unmarshal([]byte(plan.OutputChanges[name].After.(string)), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
