package topology

import (
	"cmp"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// acl is a network ACL: what a subnet lets in and out, packet by packet. Of the packets that answer, it is taken that they pass.
type acl struct{ in, out []aclRule }

type aclRule struct {
	exposure.Rule
	number int
}

// readACLs gives subnets the ACL that is theirs. One that nobody knows of lets everything pass.
func (n *network) readACLs() {
	all := map[string]*acl{}
	for _, kind := range []string{"aws_network_acl", "aws_default_network_acl"} {
		for _, p := range n.parts(kind) {
			a := &acl{}
			id := p.text("id")
			if p.text("default_network_acl_id") != "" {
				id = p.text("default_network_acl_id")
			}
			all[id] = a
			for _, inward := range []bool{true, false} {
				rules, sure := p.parts(map[bool]string{true: "ingress", false: "egress"}[inward])
				for _, r := range rules {
					a.add(inward, n.aclRule(r, "rule_no", "action"))
				}
				if !sure {
					a.add(inward, aclRule{Rule: exposure.Rule{Verdict: exposure.Accept, Maybe: true, Why: p.at}})
				}
			}
			ids, sure := p.texts("subnet_ids")
			for _, s := range n.subnets {
				if slices.Contains(ids, s.id) || len(ids) == 0 && sure && kind == "aws_default_network_acl" && s.planned && s.acl == nil {
					s.acl = a
				}
			}
		}
	}
	for _, p := range n.parts("aws_network_acl_rule") {
		r := n.aclRule(p, "rule_number", "rule_action")
		for id, a := range all {
			switch {
			case p.vague("network_acl_id") && r.Verdict == exposure.Accept:
				r.Maybe = true
			case id != p.text("network_acl_id"):
				continue
			}
			if p.vague("egress") || p.text("egress") != "true" {
				a.add(true, r)
			}
			if p.vague("egress") || p.text("egress") == "true" {
				a.add(false, r)
			}
		}
	}
	for _, p := range n.parts("aws_network_acl_association") {
		for _, s := range n.subnets {
			if s.id == p.text("subnet_id") {
				s.acl = all[p.text("network_acl_id")]
			}
		}
	}
}

func (a *acl) add(inward bool, r aclRule) {
	if inward {
		a.in = append(a.in, r)
	} else {
		a.out = append(a.out, r)
	}
}

// aclRule is one; if it is not understood, it accepts all and drops nothing.
func (n *network) aclRule(p part, number, action string) aclRule {
	r := aclRule{Rule: exposure.Rule{Verdict: exposure.Accept, Why: p.at}}
	if p.text(action) == "deny" {
		r.Verdict = exposure.Drop
	}
	var known [4]bool
	r.number, known[0] = p.number(number)
	r.Protocol, known[1] = protocol(p.text("protocol"))
	r.Port, known[2] = p.ports("protocol", "from_port", "to_port")
	prefixes, sure := p.prefixes("cidr_block", "ipv6_cidr_block")
	known[3] = sure && len(prefixes) > 0
	r.Source = exposure.Prefixes(prefixes...)
	if slices.Contains(known[:], false) {
		r.Maybe, r.Match = true, exposure.Match{}
	}
	return r
}

// rules are those of one direction, in order, for packets that come and go by some attachments.
func (a *acl) rules(inward bool, in, out []string) []exposure.Rule {
	rules := a.out
	if inward {
		rules = a.in
	}
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(x, y aclRule) int { return cmp.Compare(x.number, y.number) })
	of := exposure.Rule{Match: exposure.Match{In: in, Out: out}, Verdict: exposure.Jump}
	for _, r := range rules {
		if !inward {
			r.Source, r.Destination = nil, r.Source
		}
		if r.Verdict == exposure.Accept {
			r.Verdict = exposure.Return // to be asked by others, too
		}
		of.Rules = append(of.Rules, r.Rule)
	}
	of.Rules = append(of.Rules, exposure.Rule{Verdict: exposure.Drop})
	return []exposure.Rule{of}
}
