# What the machine may do on AWS: read what it boots, and nothing else.

resource "aws_iam_role" "foreman" {
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

resource "aws_iam_instance_profile" "foreman" {
  name = "${local.cluster}-${var.name}"
  role = aws_iam_role.foreman.name
}

resource "aws_iam_role_policy" "boot" {
  name = "boot"
  role = aws_iam_role.foreman.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = var.network.boot_objects
    }]
  })
}
