# How the modules fit together.

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      "ashlar.dev/cluster" = var.cluster
    }
  }
}

locals {
  # Jenkins and Foreman have modules of their own for their machine and their public load balancer.
  own_machines = compact([try(var.jenkins.machine, ""), try(var.foreman.machine, "")])
  own_services = compact([try(var.jenkins.service, ""), try(var.foreman.service, "")])
}

module "hub" {
  source = "./hub"

  cluster       = var.cluster
  region        = var.region
  zones         = var.zones
  vpc_cidr      = var.vpc_cidr
  existing_vpc  = var.existing_vpc
  image_id      = var.image_id
  image_owner   = var.image_owner
  image_name    = var.image_name
  trusted_cidrs = var.trusted_cidrs
  rules         = var.rules
  machines      = { for name, m in var.machines : name => m if m.role != "etcd" && !contains(local.own_machines, name) }
  vault_names   = [for name, m in var.machines : name if m.role == "vault"]
  bundle        = var.bundle
}

module "cluster" {
  source = "./cluster"

  network       = module.hub.network
  boot          = module.hub.boot
  machines      = { for name, m in var.machines : name => m if m.role == "etcd" }
  groups        = var.groups
  services      = [for s in var.services : s if !contains(local.own_services, s.name)]
  hub_instances = { for name, m in module.hub.machines : name => m.instance_id if m.role == "hub" }
}

module "jenkins" {
  source = "./jenkins"
  count  = var.jenkins == null ? 0 : 1

  network      = module.hub.network
  boot         = module.hub.boot
  name         = var.jenkins.machine
  machine      = var.machines[var.jenkins.machine]
  service      = one([for s in var.services : s if s.name == var.jenkins.service])
  repository   = var.jenkins.repository
  branch       = var.jenkins.branch
  cluster_file = var.jenkins.cluster_file
}

module "foreman" {
  source = "./foreman"
  count  = var.foreman == null ? 0 : 1

  network = module.hub.network
  boot    = module.hub.boot
  name    = var.foreman.machine
  machine = var.machines[var.foreman.machine]
  service = one([for s in var.services : s if s.name == var.foreman.service])
}
