# What Jenkins may do on AWS: what `ashlar plan` and `ashlar up` do, to this cluster.

resource "aws_iam_role" "jenkins" {
  name        = "${local.cluster}-${var.name}"
  description = "Machine ${var.name} of ${local.cluster}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "jenkins" {
  name = "${local.cluster}-${var.name}"
  role = aws_iam_role.jenkins.name
}

resource "aws_iam_role_policy" "boot" {
  name = "boot"
  role = aws_iam_role.jenkins.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = var.network.boot_objects
    }]
  })
}

# The same policy that an operator has.
resource "aws_iam_role_policy" "operator" {
  name = "operator"
  role = aws_iam_role.jenkins.name

  policy = jsonencode(jsondecode(templatefile("${path.module}/../operator-policy.json", {
    cluster   = local.cluster
    region    = var.network.region
    account   = var.network.account
    partition = var.network.partition
  })))
}

# But it cannot give itself more.
resource "aws_iam_role_policy" "limit" {
  name = "limit"
  role = aws_iam_role.jenkins.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Deny"
      Action = [
        "iam:AttachRolePolicy",
        "iam:DeleteRolePolicy",
        "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
      ]
      Resource = "arn:${var.network.partition}:iam::${var.network.account}:role/${local.cluster}-${var.name}"
    }]
  })
}
