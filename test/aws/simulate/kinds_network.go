package simulate

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

const ec2 = "ec2:{region}:{account}:"

var networkKinds = map[string]kind{
	"aws_vpc": {
		id: "vpc-{17}", arn: ec2 + "vpc/{id}", replace: "cidr_block ipv4_ipam_pool_id ipv4_netmask_length",
		defaults: map[string]any{"enable_dns_support": true, "instance_tenancy": "default"},
		one:      []string{"cidr_block ipv4_ipam_pool_id"}, made: madeVPC,
	},
	"aws_subnet": {
		id: "subnet-{17}", arn: ec2 + "subnet/{id}", replace: "vpc_id cidr_block availability_zone availability_zone_id ipv6_native outpost_arn",
		defaults: map[string]any{
			"map_public_ip_on_launch": false, "assign_ipv6_address_on_creation": false, "enable_dns64": false, "ipv6_native": false,
			"enable_resource_name_dns_a_record_on_launch": false, "enable_resource_name_dns_aaaa_record_on_launch": false,
		},
		atMost: []string{"availability_zone availability_zone_id"}, made: madeSubnet,
	},
	"aws_ec2_subnet_cidr_reservation": {
		id: "scr-{17}", replace: "cidr_block description reservation_type subnet_id",
		check: func(c *checked) { c.among("reservation_type", "explicit", "prefix") },
	},
	"aws_ec2_tag":          {id: "{resource_id},{key}", replace: "resource_id key"},
	"aws_internet_gateway": {id: "igw-{17}", arn: ec2 + "internet-gateway/{id}"},
	"aws_nat_gateway": {
		id: "nat-{17}", replace: "allocation_id connectivity_type private_ip subnet_id availability_mode vpc_id",
		defaults: map[string]any{"connectivity_type": "public"},
		made: func(o *object) {
			o.set("network_interface_id", o.form("eni-{17}"))
			o.set("private_ip", o.address(o.str("subnet_id")))
			o.set("association_id", o.form("eipassoc-{17}"))
			o.set("availability_mode", "zonal")
			o.set("vpc_id", o.of("aws_subnet", o.str("subnet_id"), "vpc_id"))
			o.set("public_ip", o.of("aws_eip", o.str("allocation_id"), "public_ip"))
		},
		check: func(c *checked) {
			if t := c.str("connectivity_type"); (t == "" || t == "public") && c.missing("allocation_id") {
				c.fail("aws_nat_gateway: a public one needs an allocation_id")
			}
		},
	},
	"aws_eip": {
		id: "eipalloc-{17}", arn: ec2 + "elastic-ip/{id}", replace: "address domain public_ipv4_pool network_border_group customer_owned_ipv4_pool ipam_pool_id",
		atMost: []string{"instance network_interface"}, made: madeEIP,
	},
	"aws_eip_association": {
		id: "eipassoc-{17}", replace: "allocation_id allow_reassociation instance_id network_interface_id private_ip_address public_ip",
		atMost: []string{"instance_id network_interface_id"},
		made: func(o *object) {
			o.set("public_ip", o.of("aws_eip", o.str("allocation_id"), "public_ip"))
			o.set("private_ip_address", o.of("aws_instance", o.str("instance_id"), "private_ip"))
		},
	},
	"aws_route_table":         {id: "rtb-{17}", arn: ec2 + "route-table/{id}", replace: "vpc_id"},
	"aws_default_route_table": {id: "{default_route_table_id}", arn: ec2 + "route-table/{id}", replace: "default_route_table_id"},
	"aws_route": {
		id: "r-{route_table_id}{10}", replace: "route_table_id destination_cidr_block destination_ipv6_cidr_block destination_prefix_list_id",
		one: []string{
			"destination_cidr_block destination_ipv6_cidr_block destination_prefix_list_id",
			"carrier_gateway_id core_network_arn egress_only_gateway_id gateway_id local_gateway_id nat_gateway_id network_interface_id " +
				"transit_gateway_id vpc_endpoint_id vpc_peering_connection_id",
		},
		made: func(o *object) {
			o.set("origin", "CreateRoute")
			o.set("state", "active")
			o.alone("route_table_id", "destination_cidr_block", "destination_ipv6_cidr_block", "destination_prefix_list_id")
		},
	},
	"aws_route_table_association": {
		id: "rtbassoc-{17}", replace: "subnet_id gateway_id", one: []string{"subnet_id gateway_id"},
		made: func(o *object) { o.alone("subnet_id", "gateway_id") },
	},
	"aws_security_group": {
		id: "sg-{17}", arn: ec2 + "security-group/{id}", replace: "name name_prefix description vpc_id",
		defaults: map[string]any{"description": "Managed by Terraform", "revoke_rules_on_delete": false},
		atMost:   []string{"name name_prefix"},
		made:     func(o *object) { o.alone("vpc_id", "name") },
		check: func(c *checked) {
			c.matches(ruleText, "description", "name")
			if strings.HasPrefix(c.str("name"), "sg-") {
				c.fail("aws_security_group: a name must not begin with sg-")
			}
		},
	},
	"aws_default_security_group": {
		id: late, arn: ec2 + "security-group/{id}", replace: "vpc_id", defaults: map[string]any{"revoke_rules_on_delete": false},
		made: func(o *object) {
			o.values["id"] = cty.StringVal(o.of("aws_vpc", o.str("vpc_id"), "default_security_group_id"))
			o.set("name", "default")
			o.set("description", "default VPC security group")
		},
	},
	"aws_vpc_security_group_ingress_rule": rule,
	"aws_vpc_security_group_egress_rule":  rule,
	"aws_network_acl":                     {id: "acl-{17}", arn: ec2 + "network-acl/{id}", replace: "vpc_id"},
	"aws_default_network_acl":             {id: "{default_network_acl_id}", arn: ec2 + "network-acl/{id}", replace: "default_network_acl_id"},
	"aws_network_acl_rule": {
		id: "nacl-{10}", defaults: map[string]any{"egress": false},
		replace: "network_acl_id rule_number egress protocol rule_action cidr_block ipv6_cidr_block from_port to_port icmp_type icmp_code",
		one:     []string{"cidr_block ipv6_cidr_block"},
		made:    func(o *object) { o.alone("network_acl_id", "egress", "rule_number") },
	},
	"aws_network_acl_association": {id: "aclassoc-{17}", replace: "network_acl_id subnet_id"},
	"aws_vpc_endpoint": {
		id: "vpce-{17}", arn: ec2 + "vpc-endpoint/{id}", late: "dns_options subnet_configuration",
		replace:  "vpc_id service_name vpc_endpoint_type service_region resource_configuration_arn service_network_arn",
		defaults: map[string]any{"vpc_endpoint_type": "Gateway"},
		one:      []string{"service_name resource_configuration_arn service_network_arn"},
		made: func(o *object) {
			o.set("state", "available")
			o.set("ip_address_type", "ipv4")
			o.set("service_region", o.form("{region}"))
			o.set("policy", `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}],"Version":"2008-10-17"}`)
			if o.str("vpc_endpoint_type") == "Gateway" {
				o.set("prefix_list_id", o.form("pl-{8}"))
				o.set("cidr_blocks", []string{"198.51.100.0/24"})
			}
		},
		check: func(c *checked) {
			c.policy("policy", 20480)
			if t := c.str("vpc_endpoint_type"); t == "" || t == "Gateway" {
				if !c.missing("subnet_ids") || !c.missing("security_group_ids") {
					c.fail("aws_vpc_endpoint: one of type Gateway has neither subnets nor security groups")
				}
			}
		},
	},
	"aws_vpc_endpoint_route_table_association": {id: "a-{vpc_endpoint_id}{10}", replace: "route_table_id vpc_endpoint_id"},
	"aws_flow_log": {
		id: "fl-{17}", arn: ec2 + "vpc-flow-log/{id}",
		replace: "deliver_cross_account_role eni_id iam_role_arn log_destination log_destination_type log_format max_aggregation_interval " +
			"regional_nat_gateway_id subnet_id traffic_type transit_gateway_attachment_id transit_gateway_id vpc_id destination_options",
		defaults: map[string]any{
			"max_aggregation_interval": 600, "log_destination_type": "cloud-watch-logs", "destination_options.file_format": "plain-text",
			"destination_options.hive_compatible_partitions": false, "destination_options.per_hour_partition": false,
		},
		one: []string{"eni_id subnet_id vpc_id transit_gateway_id transit_gateway_attachment_id regional_nat_gateway_id"},
		made: func(o *object) {
			o.set("log_format", "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} "+
				"${bytes} ${start} ${end} ${action} ${log-status}")
		},
		check: func(c *checked) {
			if c.missing("traffic_type") && c.missing("transit_gateway_id") && c.missing("transit_gateway_attachment_id") {
				c.fail("aws_flow_log: traffic_type must be given")
			}
			c.among("traffic_type", "ACCEPT", "REJECT", "ALL")
			if d := c.str("log_destination_type"); (d == "" || d == "cloud-watch-logs") && c.missing("iam_role_arn") {
				c.fail("aws_flow_log: CloudWatch Logs needs an iam_role_arn")
			}
		},
	},
	"aws_network_interface": {
		id: "eni-{17}", arn: ec2 + "network-interface/{id}", replace: "subnet_id interface_type", late: "attachment",
		defaults: map[string]any{"source_dest_check": true, "private_ip_list_enabled": false, "ipv6_address_list_enabled": false},
		made:     madeInterface,
		check:    func(c *checked) { c.matches(length(0, 255, "[ -~]"), "description") },
	},
	"aws_network_interface_attachment": {
		id: "eni-attach-{17}", replace: "device_index instance_id network_interface_id network_card_index",
		made: func(o *object) { o.set("attachment_id", o.str("id")); o.set("status", "attached") },
	},
	"aws_vpc_dhcp_options": {
		id: "dopt-{17}", arn: ec2 + "dhcp-options/{id}",
		replace: "domain_name domain_name_servers ipv6_address_preferred_lease_time netbios_name_servers netbios_node_type ntp_servers",
	},
	"aws_vpc_dhcp_options_association": {id: "{dhcp_options_id}-{vpc_id}", replace: "vpc_id"},
}

// ruleText is what AWS allows in the descriptions of security groups and their rules.
var ruleText = length(0, 255, `[0-9A-Za-z_ .:/()#,@\[\]+=&;{}!$*-]`)

var rule = kind{
	id: "sgr-{17}", arn: ec2 + "security-group-rule/{id}", replace: "security_group_id",
	one: []string{"cidr_ipv4 cidr_ipv6 prefix_list_id referenced_security_group_id"},
	made: func(o *object) {
		o.set("security_group_rule_id", o.str("id"))
		o.alone("security_group_id", "ip_protocol", "from_port", "to_port", "cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id")
	},
	check: func(c *checked) {
		c.matches(ruleText, "description")
		if v := c.str("cidr_ipv4"); v != "" {
			if p, err := netip.ParsePrefix(v); err != nil || p != p.Masked() || !p.Addr().Is4() {
				c.fail("%s: cidr_ipv4 %q is no range of addresses", c.typ, v)
			}
		}
		ports := !c.missing("from_port") && !c.missing("to_port")
		switch p := c.str("ip_protocol"); {
		case p == "-1" && (!c.missing("from_port") || !c.missing("to_port")):
			c.fail("%s: ip_protocol -1 means all ports: from_port and to_port must not be given", c.typ)
		case (p == "tcp" || p == "udp" || p == "icmp") && !ports:
			c.fail("%s: from_port and to_port are needed with ip_protocol %s", c.typ, p)
		}
	},
}

var zoneName = regexp.MustCompile(`^([a-z]{2})-([a-z])[a-z]+-(\d)([a-z])$`)

// zoneID is how AWS calls a zone for all accounts alike: eu-central-1a is, in some account, euc1-az2.
func zoneID(zone string) string {
	m := zoneName.FindStringSubmatch(zone)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%s%s%s-az%d", m[1], m[2], m[3], m[4][0]-'a'+1)
}
