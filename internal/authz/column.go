package authz

import (
	"cmp"
	"slices"
	"strings"
)

// column is a resource, or a subresource that is a danger of its own. Other subresources are with their resource. The group
// is "*" if no rule says of which a resource is.
type column struct {
	group, resource, sub string
	with                 []string
}

func (c *column) name() string { return strings.TrimSuffix(c.resource+"/"+c.sub, "/") }

// dangers are what is dangerous about these verbs.
func (c *column) dangers(verbs ...string) []string {
	var out []string
	for _, d := range dangers {
		if d.group == c.group && slices.Contains(d.resources, c.name()) &&
			slices.ContainsFunc(d.verbs, func(v string) bool { return covers(verbs, v) }) && !slices.Contains(out, d.name) {
			out = append(out, d.name)
		}
	}
	return out
}

func (c *column) compare(o *column) int {
	return cmp.Or(
		strings.Compare(strings.Replace(c.group, "*", "~", 1), strings.Replace(o.group, "*", "~", 1)), // any comes last
		cmp.Compare(rank(c.dangers("*")), rank(o.dangers("*"))),
		cmp.Compare(c.resource, o.resource),
		cmp.Compare(c.sub, o.sub))
}

// columnsOf are all resources that are known or that the policy names: by group, the dangerous first.
func columnsOf(p *Policy) []column {
	type kind struct{ group, resource string }
	known, names := map[kind][]string{}, map[string]bool{}
	add := func(group string, patterns []string) {
		for _, pattern := range patterns {
			if resource, sub, _ := strings.Cut(pattern, "/"); resource != "*" && resource != "" {
				k := kind{group, resource}
				known[k] = append(known[k], sub)
				names[resource] = true
			}
		}
	}
	for _, k := range slices.Concat(readable, readableEverywhere) {
		add(k.group, k.resources)
	}
	for _, d := range dangers {
		add(d.group, d.resources)
	}
	rules := rulesOf(p)
	for _, r := range rules {
		for _, group := range r.APIGroups {
			if group != "*" {
				add(group, r.Resources)
			}
		}
	}
	for _, r := range rules {
		if slices.Contains(r.APIGroups, "*") {
			add("*", slices.DeleteFunc(slices.Clone(r.Resources), func(pattern string) bool {
				resource, _, _ := strings.Cut(pattern, "/")
				return names[resource]
			}))
		}
	}
	for _, k := range reviews { // everybody may, and nothing comes of it
		for _, r := range k.resources {
			delete(known, kind{k.group, r})
		}
	}
	var out []column
	for k, subs := range known {
		whole := column{group: k.group, resource: k.resource}
		slices.Sort(subs)
		for _, sub := range slices.Compact(subs) {
			part := column{group: k.group, resource: k.resource, sub: sub}
			switch {
			case sub == "":
			case len(part.dangers("*")) > 0:
				out = append(out, part)
			default:
				whole.with = append(whole.with, sub)
			}
		}
		out = append(out, whole)
	}
	slices.SortFunc(out, func(a, b column) int { return a.compare(&b) })
	return out
}

// rulesOf are the rules of a policy, each once.
func rulesOf(p *Policy) []*Rule {
	seen := map[*Rule]bool{}
	var out []*Rule
	for _, g := range p.Grants {
		if !seen[g.Rule] {
			seen[g.Rule] = true
			out = append(out, g.Rule)
		}
	}
	return out
}
