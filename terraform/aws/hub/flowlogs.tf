# Who connected to whom, and what was refused. In an existing VPC that is for its owner to say.

resource "aws_cloudwatch_log_group" "flows" {
  count = var.existing_vpc == null ? 1 : 0

  name              = "/ashlar/${var.cluster}/flows"
  retention_in_days = var.flow_log_days
}

resource "aws_flow_log" "this" {
  count = var.existing_vpc == null ? 1 : 0

  vpc_id                   = aws_vpc.this[0].id
  traffic_type             = "ALL"
  max_aggregation_interval = 60
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flows[0].arn
  iam_role_arn             = aws_iam_role.flows[0].arn

  tags = { Name = var.cluster }
}

resource "aws_iam_role" "flows" {
  count = var.existing_vpc == null ? 1 : 0

  name = "${var.cluster}-flows"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "flows" {
  count = var.existing_vpc == null ? 1 : 0

  name = "write"
  role = aws_iam_role.flows[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/ashlar/${var.cluster}/flows:*"
    }]
  })
}
