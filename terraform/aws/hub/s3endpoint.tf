# The way to S3 that never leaves AWS's network and costs nothing: machines fetch the bundle by it.

resource "aws_vpc_endpoint" "s3" {
  count = var.existing_vpc == null ? 1 : 0

  vpc_id            = aws_vpc.this[0].id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat(aws_route_table.public[*].id, [for zone in var.zones : aws_route_table.private[zone].id])

  # An endpoint's policy gives nobody anything: it limits what can be asked through it. Whoever has credentials of
  # another account cannot carry data off to a bucket of theirs.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OwnAccount"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:*"
        Resource  = "*"
        Condition = { StringEquals = { "aws:PrincipalAccount" = local.account } }
      },
      {
        # Layers of images in ECR are fetched by addresses that AWS signs itself.
        Sid       = "ImageLayers"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = "arn:${local.partition}:s3:::prod-${var.region}-starport-layer-bucket/*"
      },
    ]
  })

  tags = { Name = "${var.cluster}-s3" }
}
