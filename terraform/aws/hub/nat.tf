# The addresses that the internet sees machines come from: one in each zone.

resource "aws_eip" "nat" {
  for_each = local.made

  domain = "vpc"

  tags = { Name = "${var.cluster}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each = local.made

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.cluster}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}
