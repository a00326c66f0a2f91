# The versions that this was made for, and where the state is.

terraform {
  # 1.10 is the first, of OpenTofu and of Terraform, that locks a state in S3 without a table beside it.
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }

  # Bucket, key, region and KMS key are given at `init`: see README.md.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
