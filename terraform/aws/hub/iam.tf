# Each machine has a role of its own, so that Vault can tell them apart by it, with just what it needs.

resource "aws_iam_role" "machine" {
  for_each = var.machines

  name        = "${var.cluster}-${each.key}"
  description = "Machine ${each.key} of ${var.cluster}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "machine" {
  for_each = var.machines

  name = "${var.cluster}-${each.key}"
  role = aws_iam_role.machine[each.key].name
}

# Every machine reads its software, Vault's CA, and what else is written down for machines that boot. None of it is secret.
resource "aws_iam_role_policy" "boot" {
  for_each = var.machines

  name = "boot"
  role = aws_iam_role.machine[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = local.boot_objects
    }]
  })
}

# Vault unseals itself, makes its own first certificate known, and asks AWS about the instance that logs in.
resource "aws_iam_role_policy" "vault" {
  for_each = local.vault

  name = "vault"
  role = aws_iam_role.machine[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Unseal"
        Effect   = "Allow"
        Action   = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]
        Resource = aws_kms_key.this["vault"].arn
      },
      {
        # The first certificate of each Vault machine, for the others to see.
        Sid      = "Publish"
        Effect   = "Allow"
        Action   = "s3:PutObject"
        Resource = "arn:${local.partition}:s3:::${local.buckets.bundle}/${var.cluster}/vault/*"
      },
      {
        # DescribeInstances knows no resources.
        Sid      = "WhichInstance"
        Effect   = "Allow"
        Action   = "ec2:DescribeInstances"
        Resource = "*"
      },
      {
        Sid      = "WhichProfile"
        Effect   = "Allow"
        Action   = "iam:GetInstanceProfile"
        Resource = "arn:${local.partition}:iam::${local.account}:instance-profile/${var.cluster}-*"
      },
    ]
  })
}

# The bastion makes known who signs its host key: whoever comes through it for the first time has nobody else to ask.
resource "aws_iam_role_policy" "bastion" {
  for_each = local.bastion

  name = "bastion"
  role = aws_iam_role.machine[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Publish"
      Effect   = "Allow"
      Action   = "s3:PutObject"
      Resource = "arn:${local.partition}:s3:::${local.buckets.bundle}/${var.cluster}/bastion/*"
    }]
  })
}

locals {
  boot_objects = [
    "arn:${local.partition}:s3:::${local.buckets.bundle}/bundles/*",
    "arn:${local.partition}:s3:::${local.buckets.bundle}/${var.cluster}/*",
  ]
}
