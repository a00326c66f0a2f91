package topology

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/symbol"
)

// TestUnknown: what is not known of a plan, or not understood, is taken to be open, and it says where in the plan that is.
func TestUnknown(t *testing.T) {
	all := planned(t, "aws-single")
	find := func(address string) int {
		i := slices.IndexFunc(all, func(r symbol.Resource) bool { return strings.HasPrefix(r.Address, address) })
		if i < 0 {
			t.Fatalf("there is no %s", address)
		}
		return i
	}
	vpc := all[find("module.hub.aws_vpc.this")].Values["id"]
	change := func(address, attribute string, v any) []symbol.Resource {
		out := slices.Clone(all)
		i := find(address)
		out[i].Values = maps.Clone(out[i].Values)
		out[i].Values[attribute] = v
		return out
	}
	with := func(kind string, values map[string]any) []symbol.Resource {
		return append(slices.Clone(all), symbol.Resource{Address: kind + ".new", Type: kind, Name: "new", Values: values})
	}
	trusted := `module.hub.aws_vpc_security_group_ingress_rule.trusted`
	for name, c := range map[string]struct {
		all  []symbol.Resource
		node string // that is reached, perhaps
		says string // on its path
	}{
		"whose address a rule is for":       {change(trusted, "cidr_ipv4", symbol.Unknown{}), "bastion-0", trusted},
		"a rule's port":                     {change(trusted, "from_port", symbol.Unknown{}), "bastion-0", trusted},
		"a rule's protocol":                 {change(trusted, "ip_protocol", symbol.Unknown{}), "bastion-0", trusted},
		"whose rule it is":                  {change(trusted, "security_group_id", symbol.Unknown{}), "bastion-0", trusted},
		"an interface's groups":             {change("module.hub.aws_network_interface.bastion", "security_groups", symbol.Unknown{}), "bastion-0", "security groups are not known"},
		"a group that is not made here":     {change("module.hub.aws_network_interface.bastion", "security_groups", []any{"sg-1"}), "bastion-0", "sg-1 is not made here"},
		"whose elastic address it is":       {change("module.hub.aws_eip.bastion", "network_interface", symbol.Unknown{}), "bastion-0", "aws_eip.bastion"},
		"a peering":                         {with("aws_vpc_peering_connection", map[string]any{"vpc_id": vpc}), "vault-0", "aws_vpc_peering_connection.new"},
		"a transit gateway":                 {with("aws_ec2_transit_gateway_vpc_attachment", map[string]any{"vpc_id": vpc}), "vault-0", "aws_ec2_transit_gateway"},
		"a VPN":                             {with("aws_vpn_gateway", map[string]any{"vpc_id": vpc}), "vault-0", "aws_vpn_gateway.new"},
		"something that is not understood":  {with("aws_something_new", map[string]any{}), "vault-0", "aws_something_new.new"},
		"a route table of a gateway":        {with("aws_route_table_association", map[string]any{"gateway_id": "igw-1", "route_table_id": "rtb-1"}), "vault-0", "what comes in first"},
		"a machine of another kind":         {with("aws_eks_cluster", map[string]any{}), "vault-0", "aws_eks_cluster.new"},
		"an accelerator":                    {with("aws_globalaccelerator_endpoint_group", map[string]any{}), "vault-0", "aws_globalaccelerator"},
		"an instance in a subnet of others": {with("aws_instance", map[string]any{"id": "i-1", "subnet_id": "subnet-1", "vpc_security_group_ids": []any{"sg-1"}}), "aws_instance.new", "sg-1"},
		"a member without a template":       {with("aws_autoscaling_group", map[string]any{"id": "g", "name": "g", "vpc_zone_identifier": []any{"subnet-1"}}), "g", "launch template is not known"},
	} {
		found := false
		var paths []string
		for _, e := range exposure.Reach(Of(c.all), exposure.IPv4.Or(exposure.IPv6)) {
			if !e.Maybe {
				continue
			}
			for _, s := range e.Path {
				paths = append(paths, s.String())
				found = found || e.Node == c.node && strings.Contains(s.String(), c.says)
			}
		}
		if !found {
			t.Errorf("%s: %s is not reached by %q; the paths are\n%s", name, c.node, c.says, strings.Join(paths, "\n"))
		}
	}
}

// TestIPv6: an address of IPv6 is public as soon as its subnet has a way to the internet gateway, whether it is known or not.
func TestIPv6(t *testing.T) {
	for _, c := range []struct {
		name, route, rule string
		want              bool
	}{
		{"a way, and a rule", "gateway_id", "::/0", true},
		{"a rule for IPv4", "gateway_id", "", false},
		{"a way outward only", "egress_only_gateway_id", "::/0", false},
		{"no way", "", "::/0", false},
	} {
		all := []symbol.Resource{
			{Address: "aws_vpc.a", Type: "aws_vpc", Values: map[string]any{"id": "vpc", "cidr_block": "10.0.0.0/16", "ipv6_cidr_block": symbol.Symbol("aws_vpc.a", "ipv6_cidr_block")}},
			{Address: "aws_internet_gateway.a", Type: "aws_internet_gateway", Values: map[string]any{"id": "igw", "vpc_id": "vpc"}},
			{Address: "aws_egress_only_internet_gateway.a", Type: "aws_egress_only_internet_gateway", Values: map[string]any{"id": "eigw", "vpc_id": "vpc"}},
			{Address: "aws_subnet.a", Type: "aws_subnet", Values: map[string]any{"id": "subnet", "vpc_id": "vpc", "cidr_block": "10.0.0.0/24",
				"ipv6_cidr_block": symbol.Unknown{}, "assign_ipv6_address_on_creation": true, "map_public_ip_on_launch": false}},
			{Address: "aws_route_table.a", Type: "aws_route_table", Values: map[string]any{"id": "rtb"}},
			{Address: "aws_route_table_association.a", Type: "aws_route_table_association", Values: map[string]any{"subnet_id": "subnet", "route_table_id": "rtb"}},
			{Address: "aws_security_group.a", Type: "aws_security_group", Values: map[string]any{"id": "sg"}},
			{Address: "aws_security_group_rule.a", Type: "aws_security_group_rule", Values: map[string]any{"security_group_id": "sg", "type": "ingress", "protocol": "tcp",
				"from_port": 22, "to_port": 22, "cidr_blocks": []any{"0.0.0.0/0"}}},
			{Address: "aws_instance.a", Type: "aws_instance", Values: map[string]any{"id": "i", "subnet_id": "subnet", "vpc_security_group_ids": []any{"sg"},
				"associate_public_ip_address": false, "tags": map[string]any{"Name": "a"}}},
		}
		if c.route != "" {
			all = append(all, symbol.Resource{Address: "aws_route.a", Type: "aws_route", Values: map[string]any{"route_table_id": "rtb", "destination_ipv6_cidr_block": "::/0",
				c.route: map[string]string{"gateway_id": "igw", "egress_only_gateway_id": "eigw"}[c.route]}})
		}
		if c.rule != "" {
			all = append(all, symbol.Resource{Address: "aws_vpc_security_group_ingress_rule.a", Type: "aws_vpc_security_group_ingress_rule",
				Values: map[string]any{"security_group_id": "sg", "ip_protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_ipv6": c.rule}})
		}
		if got := !exposure.Reach(Of(all), exposure.IPv4.Or(exposure.IPv6)).Packets("a").Empty(); got != c.want {
			t.Errorf("%s: reached %v", c.name, got)
		}
	}
}

// TestACL: what a network ACL denies does not arrive, in the order of its numbers.
func TestACL(t *testing.T) {
	all := planned(t, "aws-single")
	i := slices.IndexFunc(all, func(r symbol.Resource) bool { return r.Type == "aws_subnet" && r.Name == "public" })
	acl := func(rules ...map[string]any) []symbol.Resource {
		out := append(slices.Clone(all), symbol.Resource{Address: "aws_network_acl.a", Type: "aws_network_acl", Values: map[string]any{"id": "acl", "subnet_ids": []any{all[i].Values["id"]}}})
		for n, r := range rules {
			r["network_acl_id"], r["rule_number"], r["cidr_block"] = "acl", (n+1)*10, "0.0.0.0/0"
			out = append(out, symbol.Resource{Address: "aws_network_acl_rule.r", Type: "aws_network_acl_rule", Values: r})
		}
		return out
	}
	allow, deny := map[string]any{"rule_action": "allow", "protocol": "-1"}, map[string]any{"rule_action": "deny", "protocol": "tcp", "from_port": 22, "to_port": 22}
	for name, c := range map[string]struct {
		all  []symbol.Resource
		want bool
	}{
		"none":           {all, true},
		"empty":          {acl(), false},
		"allowed":        {acl(maps.Clone(allow)), true},
		"denied first":   {acl(maps.Clone(deny), maps.Clone(allow)), false},
		"denied last":    {acl(maps.Clone(allow), maps.Clone(deny)), true},
		"denied unknown": {acl(map[string]any{"rule_action": "deny", "protocol": symbol.Unknown{}}, maps.Clone(allow)), true},
	} {
		if got := !exposure.Reach(Of(c.all), exposure.IPv4).Packets("bastion-0").Empty(); got != c.want {
			t.Errorf("%s: reached %v", name, got)
		}
	}
}
