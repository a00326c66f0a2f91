package doc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// needs says what an operator has to be allowed for a resource type to be made, changed and destroyed: the actions of
// EC2's and the other APIs that the provider calls for it. Reading is for all types alike, in Operator.
var needs = map[string]string{
	"aws_autoscaling_attachment": "autoscaling:AttachLoadBalancerTargetGroups autoscaling:DetachLoadBalancerTargetGroups",
	"aws_autoscaling_group": "autoscaling:CreateAutoScalingGroup autoscaling:UpdateAutoScalingGroup autoscaling:DeleteAutoScalingGroup " +
		"autoscaling:CreateOrUpdateTags autoscaling:DeleteTags autoscaling:SetInstanceProtection iam:PassRole",
	"aws_cloudwatch_log_group":        "logs:CreateLogGroup logs:DeleteLogGroup logs:PutRetentionPolicy logs:TagResource",
	"aws_default_security_group":      "ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress ec2:CreateTags",
	"aws_ebs_volume":                  "ec2:CreateVolume ec2:ModifyVolume ec2:DeleteVolume ec2:CreateTags",
	"aws_ec2_subnet_cidr_reservation": "ec2:CreateSubnetCidrReservation ec2:DeleteSubnetCidrReservation",
	"aws_eip":                         "ec2:AllocateAddress ec2:ReleaseAddress ec2:AssociateAddress ec2:DisassociateAddress ec2:CreateTags",
	"aws_flow_log":                    "ec2:CreateFlowLogs ec2:DeleteFlowLogs iam:PassRole ec2:CreateTags",
	"aws_iam_instance_profile": "iam:CreateInstanceProfile iam:DeleteInstanceProfile iam:AddRoleToInstanceProfile " +
		"iam:RemoveRoleFromInstanceProfile iam:TagInstanceProfile",
	"aws_iam_role":        "iam:CreateRole iam:DeleteRole iam:UpdateRole iam:UpdateAssumeRolePolicy iam:TagRole",
	"aws_iam_role_policy": "iam:PutRolePolicy iam:DeleteRolePolicy",
	"aws_instance": "ec2:RunInstances ec2:TerminateInstances ec2:StopInstances ec2:StartInstances ec2:ModifyInstanceAttribute " +
		"ec2:ModifyInstanceMetadataOptions ec2:ModifyVolume ec2:ReplaceIamInstanceProfileAssociation iam:PassRole ec2:CreateTags",
	"aws_internet_gateway": "ec2:CreateInternetGateway ec2:AttachInternetGateway ec2:DetachInternetGateway ec2:DeleteInternetGateway ec2:CreateTags",
	"aws_kms_alias":        "kms:CreateAlias kms:DeleteAlias kms:UpdateAlias",
	"aws_kms_key": "kms:CreateKey kms:ScheduleKeyDeletion kms:EnableKeyRotation kms:PutKeyPolicy kms:UpdateKeyDescription " +
		"kms:TagResource",
	"aws_launch_template": "ec2:CreateLaunchTemplate ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate ec2:DeleteLaunchTemplate ec2:CreateTags",
	"aws_lb": "elasticloadbalancing:CreateLoadBalancer elasticloadbalancing:DeleteLoadBalancer elasticloadbalancing:ModifyLoadBalancerAttributes " +
		"elasticloadbalancing:SetSecurityGroups elasticloadbalancing:SetSubnets elasticloadbalancing:AddTags",
	"aws_lb_listener": "elasticloadbalancing:CreateListener elasticloadbalancing:ModifyListener elasticloadbalancing:DeleteListener elasticloadbalancing:AddTags",
	"aws_lb_target_group": "elasticloadbalancing:CreateTargetGroup elasticloadbalancing:ModifyTargetGroup " +
		"elasticloadbalancing:ModifyTargetGroupAttributes elasticloadbalancing:DeleteTargetGroup elasticloadbalancing:AddTags",
	"aws_lb_target_group_attachment": "elasticloadbalancing:RegisterTargets elasticloadbalancing:DeregisterTargets",
	"aws_nat_gateway":                "ec2:CreateNatGateway ec2:DeleteNatGateway ec2:CreateTags",
	"aws_network_interface": "ec2:CreateNetworkInterface ec2:DeleteNetworkInterface ec2:DetachNetworkInterface " +
		"ec2:ModifyNetworkInterfaceAttribute ec2:CreateTags",
	"aws_route":                                          "ec2:CreateRoute ec2:ReplaceRoute ec2:DeleteRoute",
	"aws_route53_record":                                 "route53:ChangeResourceRecordSets",
	"aws_route53_zone":                                   "route53:CreateHostedZone route53:DeleteHostedZone route53:ChangeTagsForResource ec2:DescribeVpcs",
	"aws_route_table":                                    "ec2:CreateRouteTable ec2:DeleteRouteTable ec2:CreateTags",
	"aws_route_table_association":                        "ec2:AssociateRouteTable ec2:DisassociateRouteTable ec2:ReplaceRouteTableAssociation",
	"aws_s3_bucket":                                      "s3:CreateBucket s3:DeleteBucket s3:PutBucketTagging s3:DeleteObject s3:DeleteObjectVersion",
	"aws_s3_bucket_ownership_controls":                   "s3:PutBucketOwnershipControls",
	"aws_s3_bucket_policy":                               "s3:PutBucketPolicy s3:DeleteBucketPolicy",
	"aws_s3_bucket_public_access_block":                  "s3:PutBucketPublicAccessBlock",
	"aws_s3_bucket_versioning":                           "s3:PutBucketVersioning",
	"aws_s3_bucket_lifecycle_configuration":              "s3:PutLifecycleConfiguration",
	"aws_s3_bucket_server_side_encryption_configuration": "s3:PutEncryptionConfiguration",
	"aws_security_group":                                 "ec2:CreateSecurityGroup ec2:DeleteSecurityGroup ec2:RevokeSecurityGroupEgress ec2:CreateTags",
	"aws_subnet":                                         "ec2:CreateSubnet ec2:ModifySubnetAttribute ec2:DeleteSubnet ec2:CreateTags",
	"aws_volume_attachment":                              "ec2:AttachVolume ec2:DetachVolume",
	"aws_vpc":                                            "ec2:CreateVpc ec2:ModifyVpcAttribute ec2:DeleteVpc ec2:CreateTags",
	"aws_vpc_endpoint":                                   "ec2:CreateVpcEndpoint ec2:ModifyVpcEndpoint ec2:DeleteVpcEndpoints ec2:CreateTags",
	"aws_vpc_security_group_egress_rule":                 "ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupEgress ec2:ModifySecurityGroupRules ec2:CreateTags",
	"aws_vpc_security_group_ingress_rule":                "ec2:AuthorizeSecurityGroupIngress ec2:RevokeSecurityGroupIngress ec2:ModifySecurityGroupRules ec2:CreateTags",
}

// statement is one of an IAM policy's.
type statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]any `json:",omitempty"`
}

// where says, of the actions of a service, what they may be done to. ${cluster} and the like are filled in by whoever uses
// the policy.
var where = map[string][]string{
	"ec2":                  {"arn:${partition}:ec2:${region}:${account}:*/*", "arn:${partition}:ec2:${region}::image/*"},
	"autoscaling":          {"arn:${partition}:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/${cluster}-*"},
	"elasticloadbalancing": {"arn:${partition}:elasticloadbalancing:${region}:${account}:*/${cluster}-*", "arn:${partition}:elasticloadbalancing:${region}:${account}:*/*/${cluster}-*"},
	"iam":                  {"arn:${partition}:iam::${account}:role/${cluster}-*", "arn:${partition}:iam::${account}:instance-profile/${cluster}-*"},
	"kms":                  {"arn:${partition}:kms:${region}:${account}:key/*", "arn:${partition}:kms:${region}:${account}:alias/${cluster}-*"},
	"logs":                 {"arn:${partition}:logs:${region}:${account}:log-group:/ashlar/${cluster}/*"},
	"route53":              {"arn:${partition}:route53:::hostedzone/*"},
	"s3":                   {"arn:${partition}:s3:::${cluster}-${account}-*"},
}

// anywhere are actions that make something which has no name yet, or that know no resources.
var anywhere = []string{"kms:CreateKey", "route53:CreateHostedZone"}

// ours are actions that end or change what is there: only of what bears the cluster's tag.
var ours = []string{"ec2:Terminate", "ec2:Stop", "ec2:Start", "ec2:Delete", "ec2:Modify", "ec2:Detach", "ec2:Release", "ec2:Replace"}

// Operator is the least policy of whoever runs `ashlar plan`, `up` and `down`, from the resource types that the modules make.
func Operator(types []string) ([]byte, error) {
	actions := map[string][]string{}
	for _, t := range types {
		all, there := needs[t]
		if !there {
			return nil, fmt.Errorf("what an operator needs for %s is not written down", t)
		}
		for a := range strings.FieldsSeq(all) {
			actions[group(a)] = append(actions[group(a)], a)
		}
	}
	out := []statement{
		{Sid: "Read", Effect: "Allow", Resource: []string{"*"}, Action: []string{
			"autoscaling:Describe*", "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "ec2:GetSubnetCidrReservations", "elasticloadbalancing:Describe*",
			"iam:GetInstanceProfile", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole",
			"iam:ListRolePolicies", "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListAliases", "kms:ListResourceTags",
			"logs:DescribeLogGroups", "logs:ListTagsForResource", "route53:Get*", "route53:List*", "sts:GetCallerIdentity"}},
		{Sid: "Objects", Effect: "Allow", Resource: where["s3"], Action: []string{
			"s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetObject",
			"s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject"}},
		{Sid: "StateKey", Effect: "Allow", Resource: []string{where["kms"][0]}, Action: []string{"kms:Decrypt", "kms:GenerateDataKey"},
			Condition: map[string]map[string]any{"ForAnyValue:StringEquals": {"kms:ResourceAliases": []string{"alias/${cluster}-state", "alias/${cluster}-backup"}}}},
		{Sid: "ThroughTheBastion", Effect: "Allow", Resource: []string{"arn:${partition}:ec2:${region}:${account}:instance/*"}, Action: []string{"ec2-instance-connect:SendSSHPublicKey"},
			Condition: map[string]map[string]any{"StringEquals": {"aws:ResourceTag/ashlar.dev/cluster": "${cluster}", "aws:ResourceTag/ashlar.dev/role": "bastion", "ec2:osuser": "jump"}}},
		{Sid: "ServiceLinkedRoles", Effect: "Allow", Resource: []string{"arn:${partition}:iam::*:role/aws-service-role/*"}, Action: []string{"iam:CreateServiceLinkedRole"},
			Condition: map[string]map[string]any{"StringEquals": {"iam:AWSServiceName": []string{
				"autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com", "spot.amazonaws.com"}}}},
	}
	for _, g := range slices.Sorted(maps.Keys(actions)) {
		out = append(out, of(g, actions[g]))
	}
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": out}, "", "  ")
}

// group says which statement an action belongs to.
func group(action string) string {
	service, _, _ := strings.Cut(action, ":")
	switch {
	case slices.Contains(anywhere, action):
		return "anywhere"
	case action == "iam:PassRole":
		return "pass"
	case slices.ContainsFunc(ours, func(prefix string) bool { return strings.HasPrefix(action, prefix) }):
		return "ec2-ours"
	case service == "kms" && !strings.HasSuffix(action, "Alias") && action != "kms:TagResource":
		return "kms-ours"
	}
	return service
}

func of(group string, actions []string) statement {
	slices.Sort(actions)
	service, own := strings.CutSuffix(group, "-ours")
	s := statement{Sid: sids[group], Effect: "Allow", Action: slices.Compact(actions), Resource: where[service]}
	switch {
	case group == "anywhere":
		s.Resource = []string{"*"}
	case group == "pass":
		s.Resource = where["iam"][:1]
		s.Condition = map[string]map[string]any{"StringEquals": {"iam:PassedToService": []string{"ec2.amazonaws.com", "vpc-flow-logs.amazonaws.com"}}}
	case own:
		s.Resource = where[service][:1]
		s.Condition = map[string]map[string]any{"StringEquals": {"aws:ResourceTag/ashlar.dev/cluster": "${cluster}"}}
	}
	return s
}

var sids = map[string]string{
	"anywhere": "MakeWhatHasNoName", "autoscaling": "Groups", "ec2": "Make", "ec2-ours": "ChangeOurs", "elasticloadbalancing": "LoadBalancers", "iam": "Roles",
	"kms": "Aliases", "kms-ours": "Keys", "logs": "FlowLogs", "pass": "PassRoles", "route53": "Names", "s3": "Buckets",
}
