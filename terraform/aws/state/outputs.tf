# What the module says of what it made.

output "bucket" {
  value       = aws_s3_bucket.state.id
  description = "Name of the state bucket"
}

output "kms_alias" {
  value       = aws_kms_alias.state.name
  description = "Alias of the key that encrypts the state"
}
