# Keys that never leave KMS. Who may use them is said by IAM, for each role, in iam.tf.

locals {
  keys = {
    vault  = "Unseals Vault"
    backup = "Encrypts backups"
  }
}

resource "aws_kms_key" "this" {
  for_each = local.keys

  description             = "${each.value} of ${var.cluster}"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # As long as no other statement is here, IAM alone decides.
      Sid       = "AccountsIAM"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })

  tags = { Name = "${var.cluster}-${each.key}" }
}

resource "aws_kms_alias" "this" {
  for_each = local.keys

  name          = "alias/${var.cluster}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
