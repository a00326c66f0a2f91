package topology

import (
	"fmt"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// group is a security group: what it lets in, and out.
type group struct{ in, out []groupRule }

// groupRule is one of its rules: whom it is about, by address and by group.
type groupRule struct {
	exposure.Match
	peers  exposure.Ranges
	groups []string
	any    bool // nobody knows whom
	maybe  bool
	why    string
}

// readGroups reads the rules of groups, those of their own and those beside them.
func (n *network) readGroups() {
	for _, p := range append(n.parts("aws_security_group"), n.parts("aws_default_security_group")...) {
		id := p.text("id")
		g := n.group(id)
		if p.text("default_security_group_id") != "" {
			n.groups[p.text("default_security_group_id")] = g
		}
		for _, inward := range []bool{true, false} {
			name := map[bool]string{true: "ingress", false: "egress"}[inward]
			rules, sure := p.parts(name)
			for _, r := range rules {
				rule := n.groupRule(r, "protocol", []string{"cidr_blocks", "ipv6_cidr_blocks"}, "prefix_list_ids", "security_groups")
				if r.text("self") == "true" {
					rule.groups = append(rule.groups, id)
				}
				rule.any = rule.any || r.vague("self")
				g.add(inward, rule)
			}
			if !sure {
				g.add(inward, groupRule{any: true, maybe: true, why: p.at})
			}
		}
	}
	for kind, inward := range map[string]bool{"aws_vpc_security_group_ingress_rule": true, "aws_vpc_security_group_egress_rule": false} {
		for _, p := range n.parts(kind) {
			rule := n.groupRule(p, "ip_protocol", []string{"cidr_ipv4", "cidr_ipv6"}, "prefix_list_id", "referenced_security_group_id")
			n.groupOf(p).add(inward, rule)
		}
	}
	for _, p := range n.parts("aws_security_group_rule") {
		rule := n.groupRule(p, "protocol", []string{"cidr_blocks", "ipv6_cidr_blocks"}, "prefix_list_ids", "source_security_group_id")
		if p.text("self") == "true" {
			rule.groups = append(rule.groups, p.text("security_group_id"))
		}
		if p.vague("type") || p.text("type") != "egress" {
			n.groupOf(p).add(true, rule)
		}
		if p.vague("type") || p.text("type") == "egress" {
			n.groupOf(p).add(false, rule)
		}
	}
}

func (g *group) add(inward bool, r groupRule) {
	if inward {
		g.in = append(g.in, r)
	} else {
		g.out = append(g.out, r)
	}
}

func (n *network) group(id string) *group {
	if n.groups[id] == nil {
		n.groups[id] = &group{}
	}
	return n.groups[id]
}

// groupOf is whose a rule is; if nobody knows, it may be anybody's.
func (n *network) groupOf(p part) *group {
	if p.vague("security_group_id") {
		return &n.anyGroup
	}
	return n.group(p.text("security_group_id"))
}

func (n *network) groupRule(p part, name string, prefixes []string, lists, groups string) groupRule {
	r := groupRule{why: p.at}
	if d := p.text("description"); d != "" {
		r.why += ": " + d
	}
	var sure bool
	if r.Protocol, sure = protocol(p.text(name)); !sure {
		r.maybe = true
	}
	if r.Port, sure = p.ports(name, "from_port", "to_port"); !sure {
		r.maybe = true
	}
	all, sure := p.prefixes(prefixes...)
	r.any = !sure
	ids, sure := p.several(lists)
	r.any = r.any || !sure
	for _, id := range ids {
		in, known := n.prefixList(id)
		all = append(all, in...)
		// What AWS keeps a list of, as of S3's addresses, is outside; nothing out there can be told from it.
		r.any = r.any || !known
	}
	r.peers = exposure.Prefixes(all...)
	if r.groups, sure = p.several(groups); !sure {
		r.any = true
	}
	return r
}

// several are the elements of an attribute that is a text or a list.
func (p part) several(name string) ([]string, bool) {
	if s, one := p.values[name].(string); one {
		if p.left(name) {
			return nil, true
		}
		return []string{s}, true
	}
	return p.texts(name)
}

// chain is what groups together let in, or out.
func (n *network) chain(f *face, inward bool) []exposure.Rule {
	if f.open != "" {
		return []exposure.Rule{{Verdict: exposure.Accept, Maybe: true, Why: f.open}}
	}
	var out []exposure.Rule
	for _, id := range slices.Sorted(slices.Values(f.groups)) {
		g, ok := n.groups[id]
		if !ok {
			out = append(out, exposure.Rule{Verdict: exposure.Accept, Maybe: true, Why: fmt.Sprintf("security group %s is not made here", id)})
			continue
		}
		out = append(out, n.rules(g, inward, false)...)
	}
	return append(out, n.rules(&n.anyGroup, inward, true)...)
}

func (n *network) rules(g *group, inward, maybe bool) []exposure.Rule {
	rules := g.out
	if inward {
		rules = g.in
	}
	var out []exposure.Rule
	for _, r := range rules {
		rule := exposure.Rule{Match: r.Match, Verdict: exposure.Accept, Maybe: maybe || r.maybe || r.any, Why: r.why}
		peers := r.peers
		for _, id := range r.groups {
			peers = peers.Or(n.members(id))
		}
		if r.any {
			peers = nil
		} else if len(peers) == 0 {
			continue
		}
		if inward {
			rule.Source = peers
		} else {
			rule.Destination = peers
		}
		out = append(out, rule)
	}
	return out
}

// members are the addresses of all that is in a group.
func (n *network) members(id string) exposure.Ranges {
	var out exposure.Ranges
	for _, h := range n.hosts {
		for _, f := range h.faces {
			if f.open != "" || slices.Contains(f.groups, id) {
				out = out.Or(exposure.Addresses(append(slices.Clone(f.four), f.six...)...))
			}
		}
	}
	if _, ours := n.groups[id]; !ours {
		for _, v := range n.vpcs {
			out = out.Or(exposure.Prefixes(v.own...))
		}
	}
	return out
}

// role is what the first group of a machine is for, for people.
func (n *network) role(groups []string) string {
	for _, id := range groups {
		for _, r := range n.resources["aws_security_group"] {
			if key, ok := r.Key.(string); ok && partOf(r).text("id") == id {
				return key
			}
		}
	}
	return "machines"
}
