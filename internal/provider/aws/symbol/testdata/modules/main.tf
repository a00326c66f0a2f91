# What references there are between things that do not exist yet: by key, by value, by index, through modules, variables and locals.

variable "rules" {
  type = list(object({ from = string, to = string, port = optional(number, 443) }))
}

variable "zones" {
  type    = list(string)
  default = ["a", "b"]
}

locals {
  roles = toset(flatten([for r in var.rules : [r.from, r.to]]))
  rules = { for r in var.rules : "${r.from}-${r.to}" => r }
}

module "net" {
  source = "./net"
  zones  = var.zones
}

resource "terraform_data" "group" {
  for_each = local.roles
  input    = each.key
}

# To is by value, from by a lookup of another kind.
resource "terraform_data" "rule" {
  for_each = local.rules
  input = {
    to   = terraform_data.group[each.value.to].id
    from = { for k, g in terraform_data.group : k => g.id }[each.value.from]
    port = each.value.port
  }
}

module "part" {
  source   = "./part"
  for_each = { for i, z in var.zones : z => i }

  zone   = each.key
  subnet = module.net.subnets[each.value].id
  groups = values(terraform_data.group)[*].id
}

output "parts" {
  value = { for k, p in module.part : k => p.id }
}

resource "terraform_data" "last" {
  input = [module.part["a"].id, one(module.net.gateway), length(module.net.subnets), cidrsubnet("10.0.0.0/16", 4, 2)]
}
