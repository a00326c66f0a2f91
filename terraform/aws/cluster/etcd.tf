# etcd: three clusters of it on each machine. A machine keeps its name, its address and its data, whatever happens to
# the instance: a member that came back with another address would have to join anew.

resource "aws_network_interface" "etcd" {
  for_each = var.machines

  description     = "${local.cluster} ${each.key}"
  subnet_id       = var.network.private_subnet_ids[each.value.zone]
  security_groups = [local.security_groups["etcd"]]

  # The first eight of the reserved addresses are Vault's. In an existing VPC none are reserved, and AWS chooses.
  private_ips = try([cidrhost(var.network.private_fixed[each.value.zone], 8 + index(keys(var.machines), each.key))], null)

  tags = { Name = "${local.cluster}-${each.key}" }
}

resource "aws_instance" "etcd" {
  for_each = var.machines

  ami                  = var.network.image_id
  instance_type        = each.value.instance_type
  iam_instance_profile = aws_iam_instance_profile.this[each.key].name
  user_data            = local.etcd_user_data[each.key]

  primary_network_interface {
    network_interface_id = aws_network_interface.etcd[each.key].id
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
    tags        = { Name = "${local.cluster}-${each.key}" }
  }

  tags = { Name = "${local.cluster}-${each.key}", "ashlar.dev/machine" = each.key, "ashlar.dev/role" = "etcd" }

  # Both are read at the first boot. A newer image or bundle is no reason to replace a machine that has data: Ashlar
  # does that one at a time.
  lifecycle {
    ignore_changes = [ami, user_data]
  }
}

resource "aws_ebs_volume" "etcd" {
  for_each = var.machines

  availability_zone = var.network.zones[each.value.zone]
  type              = "gp3"
  size              = each.value.data_volume_gib
  encrypted         = true

  tags = { Name = "${local.cluster}-${each.key}-data" }
}

resource "aws_volume_attachment" "etcd" {
  for_each = var.machines

  device_name                    = "/dev/sdf"
  instance_id                    = aws_instance.etcd[each.key].id
  volume_id                      = aws_ebs_volume.etcd[each.key].id
  stop_instance_before_detaching = true
}
