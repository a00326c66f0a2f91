package aws

import "strings"

// kind is what a person calls a resource, and what is lost with it.
type kind struct {
	name  string
	loses string // empty: it can be had again
}

// kinds are those that terraform/aws makes. One that is not here is shown by its own name.
var kinds = map[string]kind{
	"aws_instance":                        {name: "instance"},
	"aws_ebs_volume":                      {name: "data volume", loses: "all that is on it"},
	"aws_volume_attachment":               {name: "attachment of the data volume"},
	"aws_network_interface":               {name: "network interface"},
	"aws_eip":                             {name: "public address"},
	"aws_iam_role":                        {name: "IAM role"},
	"aws_iam_role_policy":                 {name: "what its IAM role may"},
	"aws_iam_role_policy_attachment":      {name: "what its IAM role may"},
	"aws_iam_policy":                      {name: "IAM policy"},
	"aws_iam_instance_profile":            {name: "instance profile"},
	"aws_launch_template":                 {name: "launch template"},
	"aws_autoscaling_group":               {name: "group"},
	"aws_autoscaling_attachment":          {name: "attachment of the group to its load balancer"},
	"aws_lb":                              {name: "load balancer"},
	"aws_lb_listener":                     {name: "listener"},
	"aws_lb_target_group":                 {name: "target group"},
	"aws_lb_target_group_attachment":      {name: "target"},
	"aws_vpc":                             {name: "VPC"},
	"aws_subnet":                          {name: "subnet"},
	"aws_ec2_subnet_cidr_reservation":     {name: "reserved addresses"},
	"aws_internet_gateway":                {name: "internet gateway"},
	"aws_nat_gateway":                     {name: "NAT gateway"},
	"aws_route_table":                     {name: "route table"},
	"aws_route_table_association":         {name: "subnet's route table"},
	"aws_route":                           {name: "route"},
	"aws_vpc_endpoint":                    {name: "way to S3"},
	"aws_flow_log":                        {name: "flow log"},
	"aws_cloudwatch_log_group":            {name: "log group", loses: "the logs in it"},
	"aws_default_security_group":          {name: "default security group"},
	"aws_security_group":                  {name: "security group"},
	"aws_vpc_security_group_ingress_rule": {name: "rule, at its end"},
	"aws_vpc_security_group_egress_rule":  {name: "rule, at its beginning"},
	"aws_route53_zone":                    {name: "private zone"},
	"aws_route53_record":                  {name: "name"},
	"aws_kms_key":                         {name: "key", loses: "all that it encrypts"},
	"aws_kms_alias":                       {name: "key's alias"},
	"aws_s3_bucket":                       {name: "bucket", loses: "all that is in it"},
	"aws_s3_bucket_policy":                {name: "bucket's policy"},
	"aws_s3_bucket_public_access_block":   {name: "bucket's closure to the public"},
	"aws_s3_bucket_ownership_controls":    {name: "bucket's ownership"},
	"aws_s3_bucket_versioning":            {name: "bucket's versions"},
	"aws_s3_bucket_server_side_encryption_configuration": {name: "bucket's encryption"},
	"aws_s3_bucket_lifecycle_configuration":              {name: "bucket's old versions"},
	"aws_s3_object":                                      {name: "object in a bucket"},
}

func kindOf(resourceType string) kind {
	if k, known := kinds[resourceType]; known {
		return k
	}
	return kind{name: resourceType}
}

// attribute writes the name of an attribute as people do.
func attribute(name string) string { return strings.ReplaceAll(name, "_", " ") }
