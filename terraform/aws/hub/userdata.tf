# What every machine is told at its first boot: where Vault is, and where its software is, with the digest. None of it is
# secret. A machine proves to Vault which one it is by what AWS signs about it.

locals {
  boot = {
    cluster         = var.cluster
    region          = var.region
    vault_addresses = [for name in sort(var.vault_names) : "${name}.${var.cluster}.internal"]
    bundle_bucket   = local.buckets.bundle
    bundle_key      = var.bundle.key
    bundle_digest   = var.bundle.digest
  }

  user_data = {
    for name, m in var.machines : name => templatefile("${path.module}/../user-data.yaml.tftpl", merge(local.boot, {
      role              = m.role
      machine           = name
      pool              = ""
      attestation_mount = "${var.cluster}-machine"
      attestation_role  = name
      data              = m.role == "vault"
      packages          = []
    }))
  }
}
