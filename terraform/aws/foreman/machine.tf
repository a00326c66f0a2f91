# Foreman with its Puppet server: the configuration of the operating system itself, on machines that want it. What a
# cluster needs of a machine is the agent's, and none of it is here. It has a private address only.

locals {
  cluster = var.network.cluster

  user_data = templatefile("${path.module}/../multipart.tftpl", {
    machine = templatefile("${path.module}/../user-data.yaml.tftpl", merge(var.boot, {
      role              = "hub"
      machine           = var.name
      pool              = ""
      attestation_mount = "${local.cluster}-machine"
      attestation_role  = var.name
      data              = false
      packages          = []
    }))
    service = templatefile("${path.module}/cloud-config.yaml.tftpl", {
      foreman = var.foreman
      name    = "${var.name}.${local.cluster}.internal"
    })
  })
}

resource "aws_network_interface" "foreman" {
  description     = "${local.cluster} ${var.name}"
  subnet_id       = var.network.private_subnet_ids[var.machine.zone]
  security_groups = [var.network.security_group_ids["hub"]]

  tags = { Name = "${local.cluster}-${var.name}" }
}

resource "aws_instance" "foreman" {
  ami                  = var.network.image_id
  instance_type        = var.machine.instance_type
  iam_instance_profile = aws_iam_instance_profile.foreman.name
  user_data            = local.user_data

  primary_network_interface {
    network_interface_id = aws_network_interface.foreman.id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.machine.volume_gib
    encrypted   = true
    tags        = { Name = "${local.cluster}-${var.name}" }
  }

  tags = { Name = "${local.cluster}-${var.name}", "ashlar.dev/machine" = var.name, "ashlar.dev/role" = "hub" }

  lifecycle {
    ignore_changes = [ami, user_data]

    precondition {
      condition     = length(local.user_data) <= 16384
      error_message = "the user data of ${var.name} is longer than the 16 KiB that EC2 takes."
    }
  }
}

resource "aws_route53_record" "foreman" {
  zone_id = var.network.dns_zone_id
  name    = "${var.name}.${local.cluster}.internal"
  type    = "A"
  ttl     = 60
  records = [aws_network_interface.foreman.private_ip]
}
