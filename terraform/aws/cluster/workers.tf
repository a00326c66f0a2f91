# Workers: kubelets with the pods. A pool is a group; how many of it there are, nobody has to plan.

resource "aws_launch_template" "worker" {
  for_each = local.worker

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
    security_groups             = [local.security_groups["worker"]]
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

  # Spot instances cost less, and are taken back with two minutes notice.
  dynamic "instance_market_options" {
    for_each = each.value.spot ? ["spot"] : []

    content {
      market_type = "spot"
    }
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
    tags          = { Name = "${local.cluster}-${each.key}", "ashlar.dev/cluster" = local.cluster, "ashlar.dev/pool" = each.key, "ashlar.dev/role" = "worker" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${local.cluster}-${each.key}", "ashlar.dev/cluster" = local.cluster, "ashlar.dev/pool" = each.key }
  }
}

resource "aws_autoscaling_group" "worker" {
  for_each = local.worker

  name                = "${local.cluster}-${each.key}"
  min_size            = each.value.min
  max_size            = each.value.max
  vpc_zone_identifier = var.network.private_subnet_ids
  health_check_type   = "EC2"
  capacity_rebalance  = each.value.spot

  launch_template {
    id      = aws_launch_template.worker[each.key].id
    version = aws_launch_template.worker[each.key].latest_version
  }

  tag {
    key                 = "Name"
    value               = "${local.cluster}-${each.key}"
    propagate_at_launch = true
  }

  tag {
    key                 = "kubernetes.io/cluster/${local.cluster}"
    value               = "owned"
    propagate_at_launch = true
  }

  # Nodes get their labels and taints from Vault. By these tags a cluster autoscaler knows, before there is a node,
  # what one of this pool would have.

  dynamic "tag" {
    for_each = each.value.labels

    content {
      key                 = "k8s.io/cluster-autoscaler/node-template/label/${tag.key}"
      value               = tag.value
      propagate_at_launch = false
    }
  }

  dynamic "tag" {
    for_each = { for t in each.value.taints : split("=", split(":", t)[0])[0] => t }

    content {
      key                 = "k8s.io/cluster-autoscaler/node-template/taint/${tag.key}"
      value               = "${try(split("=", split(":", tag.value)[0])[1], "")}:${split(":", tag.value)[1]}"
      propagate_at_launch = false
    }
  }

  # How many there are between min and max is for whoever scales the group.
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}
