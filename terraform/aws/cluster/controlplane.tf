# The control plane: API servers behind the internal load balancer. They keep nothing, so that any of them can be
# replaced at any time.

resource "aws_launch_template" "control_plane" {
  for_each = local.control_plane

  name                   = "${local.cluster}-${each.key}"
  image_id               = var.network.image_id
  instance_type          = each.value.instance_type
  user_data              = base64encode(local.group_user_data[each.key])
  update_default_version = true

  iam_instance_profile {
    name = aws_iam_instance_profile.this[each.key].name
  }

  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [local.security_groups["control-plane"]]
    delete_on_termination       = true
  }

  private_dns_name_options {
    hostname_type                     = "resource-name"
    enable_resource_name_dns_a_record = true
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/sda1"

    ebs {
      volume_type           = "gp3"
      volume_size           = each.value.volume_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "block_device_mappings" {
    for_each = each.value.extra_volumes

    content {
      device_name = block_device_mappings.value.device

      ebs {
        volume_type           = "gp3"
        volume_size           = block_device_mappings.value.gib
        encrypted             = true
        delete_on_termination = true
      }
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${local.cluster}-${each.key}", "ashlar.dev/cluster" = local.cluster, "ashlar.dev/pool" = each.key, "ashlar.dev/role" = "control-plane" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${local.cluster}-${each.key}", "ashlar.dev/cluster" = local.cluster, "ashlar.dev/pool" = each.key }
  }
}

resource "aws_autoscaling_group" "control_plane" {
  for_each = local.control_plane

  name                = "${local.cluster}-${each.key}"
  min_size            = each.value.min
  max_size            = each.value.max
  vpc_zone_identifier = var.network.private_subnet_ids
  health_check_type   = "EC2"

  launch_template {
    id      = aws_launch_template.control_plane[each.key].id
    version = aws_launch_template.control_plane[each.key].latest_version
  }

  tag {
    key                 = "Name"
    value               = "${local.cluster}-${each.key}"
    propagate_at_launch = true
  }

  # How many there are between min and max is for whoever scales the group.
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}
