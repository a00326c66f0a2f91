package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// describe is what a resource is, with what matters of it.
func describe(r *tfjson.ResourceChange) string {
	v, name := values(r), kindOf(r.Type).name
	text := func(key string) string { s, _ := v[key].(string); return s }
	switch r.Type {
	case "aws_instance":
		return strings.TrimSpace(name + " " + text("instance_type"))
	case "aws_ebs_volume":
		return fmt.Sprintf("%s of %v GiB", name, v["size"])
	case "aws_vpc":
		return strings.TrimSpace(name + " " + text("cidr_block"))
	case "aws_autoscaling_group":
		return fmt.Sprintf("%s of %v to %v", name, v["min_size"], v["max_size"])
	case "aws_launch_template":
		return strings.TrimSpace(name + " " + text("instance_type"))
	case "aws_lb":
		if internal, _ := v["internal"].(bool); internal {
			return "internal " + name
		}
		return "public " + name
	case "aws_lb_listener":
		return fmt.Sprintf("%s on %v", name, v["port"])
	case "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule":
		return "rule"
	}
	return name
}

// because says what differs of a resource, and who made it so.
func because(r, drift *tfjson.ResourceChange, what string) string {
	if r.ActionReason == tfjson.ActionReasonReplaceBecauseTainted {
		return "the making of the " + what + " was interrupted"
	}
	ours := differences(r.Change, replacePaths(r.Change))
	if drift == nil || len(ours) == 0 {
		return "the " + kindOf(r.Type).name + " differs: " + listed(ours)
	}
	return "somebody changed the " + kindOf(r.Type).name + ": " + listed(differences(drift.Change, nil))
}

// replacePaths are the attributes that only a new one can have otherwise.
func replacePaths(c *tfjson.Change) []string {
	var out []string
	for _, path := range c.ReplacePaths {
		if steps, ok := path.([]any); ok && len(steps) > 0 {
			out = append(out, fmt.Sprint(steps[0]))
		}
	}
	return out
}

// differences are the attributes that change, those of first before all others. What AWS will say of a new one only later is none, unless
// there is nothing else.
func differences(c *tfjson.Change, first []string) []string {
	before, _ := c.Before.(map[string]any)
	after, _ := c.After.(map[string]any)
	unknown, _ := c.AfterUnknown.(map[string]any)
	var out, rest, later []string
	for _, key := range slices.Sorted(maps.Keys(merged(before, after))) {
		if key == "tags_all" || key == "id" || key == "arn" {
			continue
		}
		text := ""
		switch u, _ := unknown[key].(bool); {
		case u && slices.Contains(first, key):
			text = attribute(key) + ": another"
		case u && before[key] != nil:
			later = append(later, attribute(key))
		case !reflect.DeepEqual(before[key], after[key]) && (!empty(before[key]) || !empty(after[key])):
			text = change(key, before[key], after[key])
		}
		switch {
		case text == "":
		case slices.Contains(first, key):
			out = append(out, text)
		default:
			rest = append(rest, text)
		}
	}
	if out = append(out, rest...); len(out) == 0 {
		return later
	}
	return out
}

func merged(a, b map[string]any) map[string]bool {
	out := map[string]bool{}
	for key := range a {
		out[key] = true
	}
	for key := range b {
		out[key] = true
	}
	return out
}

// empty values are how providers say nothing, in one way or another.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// change writes one attribute's; inside of a block, just what differs there. What is long and for machines is not shown.
func change(key string, before, after any) string {
	if strings.HasPrefix(key, "user_data") || key == "policy" || key == "assume_role_policy" {
		return attribute(key)
	}
	name := attribute(key)
	if b, a := block(before), block(after); b != nil && a != nil {
		for _, inner := range slices.Sorted(maps.Keys(merged(b, a))) {
			if !reflect.DeepEqual(b[inner], a[inner]) {
				return name + ", " + change(inner, b[inner], a[inner])
			}
		}
	}
	return fmt.Sprintf("%s: %s → %s", name, brief(before), brief(after))
}

// block is a nested mapping, or the first that differs of a list of them.
func block(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		if len(v) == 1 {
			return block(v[0])
		}
	}
	return nil
}

func brief(v any) string {
	if empty(v) {
		if v, ok := v.(bool); ok {
			return fmt.Sprint(v)
		}
		return "none"
	}
	s, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return "?"
		}
		s = string(b)
	}
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

func listed(parts []string) string {
	const most = 4
	if len(parts) > most {
		return strings.Join(parts[:most], "; ") + fmt.Sprintf("; and %d more", len(parts)-most)
	}
	if len(parts) == 0 {
		return "in what OpenTofu does not say"
	}
	return strings.Join(parts, "; ")
}
