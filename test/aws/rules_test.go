package aws

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// rulesAsDeclared holds the rules that were made against the declared ones, as sets: each on both of its ends, and no other.
// What is declared is worked out here once more, in another language than the modules'.
func rulesAsDeclared(v *view) (wrong []string, looked int) {
	want, have := declared(v.vars), map[string]string{}
	role := map[string]string{}
	for _, r := range v.of("aws_security_group") {
		role[text(r, "id")] = key(r)
		if text(r, "name") != fmt.Sprintf("%s-%s", v.vars["cluster"], key(r)) {
			wrong = append(wrong, r.Address+" has another role's name")
		}
	}
	for _, r := range v.of("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule") {
		looked++
		said := made(r, role)
		if _, twice := have[said]; twice {
			wrong = append(wrong, r.Address+" is there twice: "+said)
		}
		have[said] = text(r, "description")
	}
	for _, said := range slices.Sorted(maps.Keys(have)) {
		why, is := want[said]
		switch {
		case !is:
			wrong = append(wrong, "not declared: "+said)
		case have[said] != why:
			wrong = append(wrong, fmt.Sprintf("%s: it says why: %q, and was declared for: %q", said, have[said], why))
		}
	}
	for _, said := range slices.Sorted(maps.Keys(want)) {
		if _, is := have[said]; !is {
			wrong = append(wrong, "declared and not there: "+said)
		}
	}
	return wrong, looked
}

// made says a rule in words: in worker: udp 4789 of worker.
func made(r *tfjson.StateResource, role map[string]string) string {
	var peer string
	way := "in"
	if strings.Contains(r.Type, "egress") {
		way = "out"
	}
	switch {
	case text(r, "referenced_security_group_id") != "":
		peer = role[text(r, "referenced_security_group_id")]
	case text(r, "cidr_ipv4") != "":
		peer = text(r, "cidr_ipv4")
	default:
		peer = text(r, "cidr_ipv6") + text(r, "prefix_list_id")
	}
	port := text(r, "from_port") + "-" + text(r, "to_port")
	if text(r, "ip_protocol") == "-1" {
		port = "any"
	}
	return fmt.Sprintf("%s %s: %s %s of %s", way, role[text(r, "security_group_id")], text(r, "ip_protocol"), port, peer)
}

// declared are the rules of the variables in the same words, with their reasons.
func declared(vars variables) map[string]string {
	out := map[string]string{}
	add := func(said, why string) {
		if out[said] != "" && !slices.Contains(strings.Split(out[said], "; "), why) {
			why = out[said] + "; " + why
		}
		out[said] = why
	}
	for _, x := range vars["rules"].([]any) {
		r := x.(map[string]any)
		from, to, why := r["from"].(string), r["to"].(string), r["why"].(string)
		if from == "operator" {
			from = "bastion"
		}
		for _, open := range opens(r["protocol"].(string), int(r["port"].(float64))) {
			if from == "trusted" {
				for _, cidr := range vars["trusted_cidrs"].([]any) {
					add(fmt.Sprintf("in %s: %s of %s", to, open, cidr), why)
				}
				continue
			}
			if to == "outside" {
				add(fmt.Sprintf("out %s: %s of 0.0.0.0/0", from, open), why)
				continue
			}
			add(fmt.Sprintf("in %s: %s of %s", to, open, from), why)
			add(fmt.Sprintf("out %s: %s of %s", from, open, to), why)
		}
	}
	return out
}

func opens(protocol string, port int) []string {
	switch {
	case protocol == "" && port == 0:
		return []string{"-1 any"}
	case protocol == "":
		return append(opens("tcp", port), opens("udp", port)...)
	case port == 0:
		return []string{protocol + " 0-65535"}
	}
	return []string{fmt.Sprintf("%s %d-%d", protocol, port, port)}
}
