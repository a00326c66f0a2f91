# Machines for what runs beside Kubernetes, other than Jenkins and Foreman, which have modules of their own.

resource "aws_network_interface" "hub" {
  for_each = local.hub

  description     = "${var.cluster} ${each.key}"
  subnet_id       = local.private_subnet_ids[each.value.zone]
  security_groups = [aws_security_group.role["hub"].id]

  tags = { Name = "${var.cluster}-${each.key}" }
}

resource "aws_instance" "hub" {
  for_each = local.hub

  ami                  = local.image_id
  instance_type        = each.value.instance_type
  iam_instance_profile = aws_iam_instance_profile.machine[each.key].name
  user_data            = local.user_data[each.key]

  primary_network_interface {
    network_interface_id = aws_network_interface.hub[each.key].id
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

  tags = { Name = "${var.cluster}-${each.key}", "ashlar.dev/machine" = each.key, "ashlar.dev/role" = "hub" }

  lifecycle {
    ignore_changes = [ami, user_data]
  }
}
