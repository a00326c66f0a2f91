# A role for each etcd machine and for each pool: Vault tells them apart by it. None of them may do more than read its
# software and Vault's CA, and the control plane ask which instances there are; nothing in the cluster makes or changes
# what is on AWS.

locals {
  profiles = merge(
    { for name, m in var.machines : name => "Machine ${name}" },
    { for pool, g in var.groups : pool => "Machines of pool ${pool}" },
  )
}

resource "aws_iam_role" "this" {
  for_each = local.profiles

  name        = "${local.cluster}-${each.key}"
  description = "${each.value} of ${local.cluster}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  for_each = local.profiles

  name = "${local.cluster}-${each.key}"
  role = aws_iam_role.this[each.key].name
}

resource "aws_iam_role_policy" "boot" {
  for_each = local.profiles

  name = "boot"
  role = aws_iam_role.this[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = var.network.boot_objects
    }]
  })
}

# The control plane forgets the nodes of instances that are terminated. DescribeInstances knows no resources.
resource "aws_iam_role_policy" "control_plane" {
  for_each = local.control_plane

  name = "control-plane"
  role = aws_iam_role.this[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WhichInstance"
      Effect   = "Allow"
      Action   = "ec2:DescribeInstances"
      Resource = "*"
    }]
  })
}
