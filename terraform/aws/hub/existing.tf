# A VPC that was there before: nothing of it is changed, but it must be what it is said to be.

data "aws_subnet" "public" {
  count = var.existing_vpc == null ? 0 : length(var.existing_vpc.public_subnet_ids)

  id = var.existing_vpc.public_subnet_ids[count.index]

  lifecycle {
    postcondition {
      condition     = self.vpc_id == var.existing_vpc.id && self.availability_zone == var.zones[count.index]
      error_message = "existing_vpc: the public subnet ${self.id} must be in ${var.existing_vpc.id} and in ${var.zones[count.index]}."
    }
  }
}

data "aws_subnet" "private" {
  count = var.existing_vpc == null ? 0 : length(var.existing_vpc.private_subnet_ids)

  id = var.existing_vpc.private_subnet_ids[count.index]

  lifecycle {
    postcondition {
      condition     = self.vpc_id == var.existing_vpc.id && self.availability_zone == var.zones[count.index]
      error_message = "existing_vpc: the private subnet ${self.id} must be in ${var.existing_vpc.id} and in ${var.zones[count.index]}."
    }

    postcondition {
      condition     = !self.map_public_ip_on_launch
      error_message = "existing_vpc: the subnet ${self.id} gives public addresses to what is launched in it, so it is no private one."
    }
  }
}
