# The image of all machines: SELinux enforcing, cloud-init, systemd. It says itself what its root disk is called, without
# which a group's disk would be a second one, and the root neither large nor encrypted as declared.

data "aws_ami" "this" {
  most_recent = true
  owners      = var.image_id == "" ? [var.image_owner] : null

  filter {
    name   = var.image_id == "" ? "name" : "image-id"
    values = [var.image_id == "" ? var.image_name : var.image_id]
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
  image = {
    id          = data.aws_ami.this.id
    root_device = data.aws_ami.this.root_device_name
  }
}
