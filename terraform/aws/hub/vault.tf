# Vault: the cluster's certificate authorities and its only rendezvous. Each machine keeps its name, its address and
# its data, whatever happens to the instance.

resource "aws_network_interface" "vault" {
  for_each = local.vault

  description     = "${var.cluster} ${each.key}"
  subnet_id       = local.private_subnet_ids[each.value.zone]
  security_groups = [aws_security_group.role["vault"].id]
  private_ips     = var.existing_vpc == null ? [cidrhost(local.private_fixed[each.value.zone], index(keys(local.vault), each.key))] : null

  tags = { Name = "${var.cluster}-${each.key}" }

  depends_on = [aws_ec2_subnet_cidr_reservation.private]
}

resource "aws_instance" "vault" {
  for_each = local.vault

  ami                  = local.image_id
  instance_type        = each.value.instance_type
  iam_instance_profile = aws_iam_instance_profile.machine[each.key].name
  user_data            = local.user_data[each.key]

  primary_network_interface {
    network_interface_id = aws_network_interface.vault[each.key].id
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

  tags = { Name = "${var.cluster}-${each.key}", "ashlar.dev/machine" = each.key, "ashlar.dev/role" = "vault" }

  # Both are read at the first boot. A newer image or bundle is no reason to replace a machine that has data: Ashlar
  # does that one at a time.
  lifecycle {
    ignore_changes = [ami, user_data]
  }
}

resource "aws_ebs_volume" "vault" {
  for_each = local.vault

  availability_zone = var.zones[each.value.zone]
  type              = "gp3"
  size              = each.value.data_volume_gib
  encrypted         = true

  tags = { Name = "${var.cluster}-${each.key}-data" }
}

resource "aws_volume_attachment" "vault" {
  for_each = local.vault

  device_name                    = "/dev/sdf"
  instance_id                    = aws_instance.vault[each.key].id
  volume_id                      = aws_ebs_volume.vault[each.key].id
  stop_instance_before_detaching = true
}
