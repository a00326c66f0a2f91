# The image of all machines: SELinux enforcing, cloud-init, systemd.

data "aws_ami" "this" {
  count = var.image_id == "" ? 1 : 0

  most_recent = true
  owners      = [var.image_owner]

  filter {
    name   = "name"
    values = [var.image_name]
  }

  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }

  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
}

locals {
  image_id = var.image_id == "" ? data.aws_ami.this[0].id : var.image_id
}
