# What machines are told at their first boot. Members of a group are not told their name: Vault derives it from the
# instance that logs in.

locals {
  # What kubelet, kube-proxy and the pods' network ask of the operating system. Only workers reach its packages.
  worker_packages = ["conntrack-tools", "container-selinux", "ipset", "iptables-nft", "nftables"]

  etcd_user_data = {
    for name, m in var.machines : name => templatefile("${path.module}/../user-data.yaml.tftpl", merge(var.boot, {
      role              = m.role
      machine           = name
      pool              = ""
      attestation_mount = "${local.cluster}-machine"
      attestation_role  = name
      data              = true
      packages          = []
    }))
  }

  group_user_data = {
    for pool, g in var.groups : pool => templatefile("${path.module}/../user-data.yaml.tftpl", merge(var.boot, {
      role              = g.role
      machine           = ""
      pool              = pool
      attestation_mount = "${local.cluster}-pool"
      attestation_role  = pool
      data              = false
      packages          = g.role == "worker" ? local.worker_packages : []
    }))
  }
}
