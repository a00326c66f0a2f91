package topology

import (
	"slices"
	"strings"
)

// stranger is something that may let anything in, for all that is known of it.
type stranger struct {
	why string
	vpc *vpc // nil: any
}

// understood are types that are read here, beside those of which nothing opens a way from the internet to a machine.
var understood = []string{
	"aws_alb", "aws_autoscaling_", "aws_default_", "aws_ebs_", "aws_ec2_instance_state", "aws_ec2_managed_prefix_list", "aws_ec2_subnet_cidr_reservation",
	"aws_ec2_tag", "aws_egress_only_internet_gateway", "aws_eip", "aws_flow_log", "aws_instance", "aws_internet_gateway", "aws_key_pair",
	"aws_launch_template", "aws_lb", "aws_main_route_table_association", "aws_nat_gateway", "aws_network_acl", "aws_network_interface",
	"aws_placement_group", "aws_route", "aws_security_group", "aws_subnet", "aws_volume_attachment", "aws_vpc",
	// Services that are reached at addresses of AWS's own, by whom IAM lets.
	"aws_acm_", "aws_ami", "aws_backup_", "aws_budgets_", "aws_caller_identity", "aws_cloudtrail", "aws_cloudwatch_", "aws_dynamodb_", "aws_ecr_", "aws_iam_",
	"aws_kms_", "aws_resourcegroups_", "aws_route53_", "aws_s3_", "aws_s3control_", "aws_secretsmanager_", "aws_servicequotas_", "aws_sns_", "aws_sqs_", "aws_ssm_",
	// Nothing of a network.
	"local_", "null_", "random_", "terraform_", "time_", "tls_",
}

// opening are types that begin like one of those, and are none.
var opening = []string{"aws_vpc_peering_", "aws_vpn_", "aws_vpc_endpoint_service", "aws_lb_trust_", "aws_route_server", "aws_vpc_network_", "aws_vpc_route_server",
	"aws_vpclattice_", "aws_ssm_activation", "aws_vpc_block_public_access_exclusion"}

// readStrangers finds what is not understood.
func (n *network) readStrangers() {
	begins := func(kind string) func(string) bool { return func(s string) bool { return strings.HasPrefix(kind, s) } }
	for kind, all := range n.resources {
		if strings.HasPrefix(kind, "data.") || slices.ContainsFunc(understood, begins(kind)) && !slices.ContainsFunc(opening, begins(kind)) {
			continue
		}
		for _, r := range all {
			p := partOf(r)
			s := stranger{why: p.at + ": who comes this way is not known"}
			for _, name := range []string{"vpc_id", "peer_vpc_id"} {
				for _, v := range n.vpcs {
					if v.id == p.text(name) && v.id != "" {
						s.vpc = v
					}
				}
			}
			n.strangers = append(n.strangers, s)
		}
	}
	// A route table of a gateway sends what comes in to somebody else first.
	for _, p := range n.parts("aws_route_table_association") {
		if !p.left("gateway_id") {
			n.strangers = append(n.strangers, stranger{why: p.at + ": who gets what comes in first is not known"})
		}
	}
	slices.SortFunc(n.strangers, func(a, b stranger) int { return strings.Compare(a.why, b.why) })
}
