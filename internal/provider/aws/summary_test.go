package aws

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
)

// What this version does not know is shown all the same; what loses something says so, and is refused unless it is asked for.
func TestSummarise(t *testing.T) {
	change := func(address, kind string, index any, actions tfjson.Actions, before, after map[string]any) *tfjson.ResourceChange {
		c := &tfjson.Change{Actions: actions}
		if before != nil {
			c.Before = before
		}
		if after != nil {
			c.After = after
		}
		return &tfjson.ResourceChange{Address: address, Type: kind, Index: index, Mode: tfjson.ManagedResourceMode, Change: c}
	}
	tags := map[string]any{"ashlar.dev/role": "etcd"}
	replace := tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}
	instance := change("aws_instance.etcd", "aws_instance", "etcd-0", replace, map[string]any{"tags": tags, "ami": "ami-1"}, map[string]any{"tags": tags, "ami": "ami-2"})
	instance.Change.ReplacePaths = []any{[]any{"ami"}}
	tainted := change("aws_vpc.this", "aws_vpc", nil, replace, map[string]any{}, map[string]any{})
	tainted.ActionReason = tfjson.ActionReasonReplaceBecauseTainted
	plan := &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{
		instance, tainted,
		change(`aws_quantum_ledger.x["a"]`, "aws_quantum_ledger", "a", tfjson.Actions{tfjson.ActionCreate}, nil, map[string]any{}),
		change("aws_quantum_ledger.y", "aws_quantum_ledger", nil, tfjson.Actions{tfjson.ActionUpdate}, map[string]any{"size": 1.0}, map[string]any{"size": 2.0}),
		change("aws_kms_key.this", "aws_kms_key", "vault", tfjson.Actions{tfjson.ActionDelete}, map[string]any{}, nil),
		change("aws_subnet.same", "aws_subnet", nil, tfjson.Actions{tfjson.ActionNoop}, map[string]any{}, map[string]any{}),
	}}
	var got []string
	changes := Summarise(plan)
	for _, c := range changes {
		got = append(got, c.Object+": "+c.Cause+" → "+c.drift().Action)
	}
	want := []string{
		"network: the making of the VPC was interrupted → replace the VPC",
		"key/vault: the file does not have it any more → remove key; THIS LOSES all that it encrypts",
		`aws_quantum_ledger.x["a"]: it does not exist → create aws_quantum_ledger`,
		"etcd-0: the instance differs: ami: ami-1 → ami-2 → replace the instance; THIS LOSES a member of etcd, until it has joined anew",
		"aws_quantum_ledger.y: the aws_quantum_ledger differs: size: 1 → 2 → change it",
	}
	if a, b := strings.Join(want, "\n"), strings.Join(got, "\n"); a != b {
		t.Errorf("want\n%s\ngot\n%s", a, b)
	}
	if err := refused(changes, []string{"etcd-0"}); err == nil || !strings.Contains(err.Error(), "--replace key/vault") {
		t.Errorf("the key of Vault is removed: %v", err)
	}
	if err := refused(changes, []string{"etcd-0", "key/vault"}); err != nil {
		t.Errorf("it was asked for: %v", err)
	}
}
