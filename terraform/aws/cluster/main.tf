# Short names for what the module is given.

locals {
  cluster         = var.network.cluster
  security_groups = var.network.security_group_ids

  control_plane = { for pool, g in var.groups : pool => g if g.role == "control-plane" }
  worker        = { for pool, g in var.groups : pool => g if g.role == "worker" }
}
