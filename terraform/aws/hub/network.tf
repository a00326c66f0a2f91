# The network: a public and a private subnet in each zone. Machines are in private ones and reach the internet
# through the NAT gateway of their own zone, so that a zone that fails takes no other with it.

locals {
  # Zones that get a subnet of their own, by their place in var.zones: none in a VPC that is there already.
  made = var.existing_vpc == null ? { for i, zone in var.zones : zone => i } : {}

  vpc_id = var.existing_vpc == null ? aws_vpc.this[0].id : var.existing_vpc.id

  private_subnet_ids = var.existing_vpc == null ? [for zone in var.zones : aws_subnet.private[zone].id] : var.existing_vpc.private_subnet_ids
  public_subnet_ids  = var.existing_vpc == null ? [for zone in var.zones : aws_subnet.public[zone].id] : var.existing_vpc.public_subnet_ids

  # Ranges inside the subnets that AWS gives to nobody by itself: machines that others know by their address get
  # theirs from here. In an existing VPC AWS chooses, and the machine's network interface keeps what it got.
  private_fixed = { for zone, i in local.made : i => cidrsubnet(local.private_cidrs[zone], 4, 1) }
  public_fixed  = { for zone, i in local.made : i => cidrsubnet(local.public_cidrs[zone], 4, 1) }

  # Each zone has a quarter of the range for its private subnet; the last quarter is divided among the public ones.
  private_cidrs = { for zone, i in local.made : zone => cidrsubnet(var.vpc_cidr, 2, i) }
  public_cidrs  = { for zone, i in local.made : zone => cidrsubnet(cidrsubnet(var.vpc_cidr, 2, 3), 2, i) }
}

resource "aws_vpc" "this" {
  count = var.existing_vpc == null ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.cluster }
}

# The group that AWS gives to whatever names none: without a rule, it opens nothing.
resource "aws_default_security_group" "this" {
  count = var.existing_vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = { Name = "${var.cluster}-default-closed" }
}

resource "aws_internet_gateway" "this" {
  count = var.existing_vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = { Name = var.cluster }
}

# Public subnets: NAT gateways, public load balancers, the bastion.

resource "aws_subnet" "public" {
  for_each = local.made

  vpc_id                  = aws_vpc.this[0].id
  availability_zone       = each.key
  cidr_block              = local.public_cidrs[each.key]
  map_public_ip_on_launch = false

  tags = {
    Name                                   = "${var.cluster}-public-${each.key}"
    "kubernetes.io/cluster/${var.cluster}" = "shared"
    "kubernetes.io/role/elb"               = "1"
  }
}

resource "aws_ec2_subnet_cidr_reservation" "public" {
  for_each = local.made

  subnet_id        = aws_subnet.public[each.key].id
  cidr_block       = local.public_fixed[each.value]
  reservation_type = "explicit"
  description      = "machines with an address of their own"
}

resource "aws_route_table" "public" {
  count = var.existing_vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = { Name = "${var.cluster}-public" }
}

resource "aws_route" "internet" {
  count = var.existing_vpc == null ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  for_each = local.made

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public[0].id
}

# Private subnets: all machines but the bastion.

resource "aws_subnet" "private" {
  for_each = local.made

  vpc_id                  = aws_vpc.this[0].id
  availability_zone       = each.key
  cidr_block              = local.private_cidrs[each.key]
  map_public_ip_on_launch = false

  # Machines of a group are known by their instance's id.
  private_dns_hostname_type_on_launch         = "resource-name"
  enable_resource_name_dns_a_record_on_launch = true

  tags = {
    Name                                   = "${var.cluster}-private-${each.key}"
    "kubernetes.io/cluster/${var.cluster}" = "shared"
    "kubernetes.io/role/internal-elb"      = "1"
  }
}

resource "aws_ec2_subnet_cidr_reservation" "private" {
  for_each = local.made

  subnet_id        = aws_subnet.private[each.key].id
  cidr_block       = local.private_fixed[each.value]
  reservation_type = "explicit"
  description      = "machines with an address of their own"
}

resource "aws_route_table" "private" {
  for_each = local.made

  vpc_id = aws_vpc.this[0].id

  tags = { Name = "${var.cluster}-private-${each.key}" }
}

resource "aws_route" "nat" {
  for_each = local.made

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.key].id
}

resource "aws_route_table_association" "private" {
  for_each = local.made

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}
