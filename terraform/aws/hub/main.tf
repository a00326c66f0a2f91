# What is known before anything is made.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition

  # The machines that are made here, by role. Etcd, control-plane and worker machines are in module cluster.
  vault   = { for name, m in var.machines : name => m if m.role == "vault" }
  bastion = { for name, m in var.machines : name => m if m.role == "bastion" }
  hub     = { for name, m in var.machines : name => m if m.role == "hub" }
}
