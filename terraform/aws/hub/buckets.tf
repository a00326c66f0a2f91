# Two buckets: `bundle` has the software that machines boot, `backup` what `ashlar backup` writes. Both are encrypted,
# keep old versions, and are asked over TLS or not at all. The third, `state`, must be there before anything can be
# planned and stay when all is destroyed, so that it is in ../state.

locals {
  buckets = {
    for name in ["state", "backup", "bundle"] : name => "${var.cluster}-${local.account}-${name}"
  }
  own_buckets = { for name in ["backup", "bundle"] : name => local.buckets[name] }
}

resource "aws_s3_bucket" "this" {
  for_each = local.own_buckets

  bucket = each.value
  # A bundle can be built again. A backup stays unless somebody says otherwise, and then `down` stops at its bucket.
  force_destroy = each.key == "bundle" || var.destroy_backups

  tags = { Name = each.value }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.own_buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.own_buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.own_buckets

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

# Bundles are no secret, and machines that boot need no key for them.
resource "aws_s3_bucket_server_side_encryption_configuration" "bundle" {
  bucket = aws_s3_bucket.this["bundle"].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backup" {
  bucket = aws_s3_bucket.this["backup"].id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this["backup"].arn
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.own_buckets

  bucket = aws_s3_bucket.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TLSOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:${local.partition}:s3:::${each.value}", "arn:${local.partition}:s3:::${each.value}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# Versions that were replaced are kept for a while, and uploads that were never finished are not.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.own_buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "old"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
