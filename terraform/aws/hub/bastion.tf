# The bastion: sshd, and the only machine with a public address. Operators come through it, with a certificate that
# Vault signs; there are no key pairs.

resource "aws_network_interface" "bastion" {
  for_each = local.bastion

  description     = "${var.cluster} ${each.key}"
  subnet_id       = local.public_subnet_ids[each.value.zone]
  security_groups = [aws_security_group.role["bastion"].id]
  private_ips     = var.existing_vpc == null ? [cidrhost(local.public_fixed[each.value.zone], 0)] : null

  tags = { Name = "${var.cluster}-${each.key}" }

  depends_on = [aws_ec2_subnet_cidr_reservation.public]
}

resource "aws_eip" "bastion" {
  for_each = local.bastion

  domain            = "vpc"
  network_interface = aws_network_interface.bastion[each.key].id

  tags = { Name = "${var.cluster}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_instance" "bastion" {
  for_each = local.bastion

  ami                  = local.image_id
  instance_type        = each.value.instance_type
  iam_instance_profile = aws_iam_instance_profile.machine[each.key].name
  user_data            = local.user_data[each.key]

  primary_network_interface {
    network_interface_id = aws_network_interface.bastion[each.key].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = each.value.volume_gib
    encrypted   = true
    tags        = { Name = "${var.cluster}-${each.key}" }
  }

  tags = { Name = "${var.cluster}-${each.key}", "ashlar.dev/machine" = each.key, "ashlar.dev/role" = "bastion" }

  lifecycle {
    ignore_changes = [ami, user_data]
  }
}
