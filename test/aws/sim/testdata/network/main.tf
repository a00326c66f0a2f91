# A network with one machine behind a load balancer: what the stand-in is tried with.
terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  backend "s3" {}
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "user_data" {
  type    = string
  default = "#cloud-config\n"
}

variable "rules" {
  type = map(object({ port = number, why = string }))
  default = {
    https = { port = 443, why = "the public service" }
  }
}

provider "aws" {
  region = "eu-central-1"

  default_tags {
    tags = { cluster = "demo" }
  }
}

data "aws_availability_zones" "here" {
  state = "available"
}

data "aws_caller_identity" "me" {}

data "aws_ami" "rocky" {
  most_recent = true
  owners      = ["792107900819"]

  filter {
    name   = "name"
    values = ["Rocky-10-EC2-Base-10.*.x86_64"]
  }
}

resource "aws_vpc" "main" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "demo" }
}

resource "aws_subnet" "public" {
  count = 2

  vpc_id            = aws_vpc.main.id
  cidr_block        = cidrsubnet(aws_vpc.main.cidr_block, 8, count.index)
  availability_zone = data.aws_availability_zones.here.names[count.index]
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  count = 2

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "machine" {
  name        = "demo-machine"
  description = "a machine"
  vpc_id      = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "in" {
  for_each = var.rules

  security_group_id = aws_security_group.machine.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  description       = each.value.why
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "machine" {
  name               = "demo-machine"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_instance_profile" "machine" {
  name = "demo-machine"
  role = aws_iam_role.machine.name
}

resource "aws_network_interface" "machine" {
  subnet_id       = aws_subnet.public[0].id
  private_ips     = [cidrhost(aws_subnet.public[0].cidr_block, 10)]
  security_groups = [aws_security_group.machine.id]
}

resource "aws_instance" "machine" {
  ami                         = data.aws_ami.rocky.id
  instance_type               = var.instance_type
  iam_instance_profile        = aws_iam_instance_profile.machine.name
  user_data                   = var.user_data
  user_data_replace_on_change = true

  primary_network_interface {
    network_interface_id = aws_network_interface.machine.id
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_size = 20
  }
}

resource "aws_ebs_volume" "data" {
  availability_zone = aws_instance.machine.availability_zone
  size              = 10
  type              = "gp3"
  encrypted         = true
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  instance_id = aws_instance.machine.id
  volume_id   = aws_ebs_volume.data.id
}

resource "aws_lb" "public" {
  name               = "demo-public"
  load_balancer_type = "network"
  subnets            = aws_subnet.public[*].id

  depends_on = [aws_internet_gateway.main]
}

resource "aws_lb_target_group" "https" {
  name     = "demo-https"
  port     = 443
  protocol = "TCP"
  vpc_id   = aws_vpc.main.id
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.public.arn
  port              = 443
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.https.arn
  }
}

resource "aws_lb_target_group_attachment" "machine" {
  target_group_arn = aws_lb_target_group.https.arn
  target_id        = aws_instance.machine.id
}

output "address" {
  value = aws_instance.machine.private_ip
}

output "account" {
  value = data.aws_caller_identity.me.account_id
}
