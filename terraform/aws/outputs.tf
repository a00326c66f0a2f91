# What the module says of what it made.

output "vault_addresses" {
  value       = module.hub.boot.vault_addresses
  description = "Names of the Vault machines in the private zone"
}

output "bastion_address" {
  value       = module.hub.bastion_address
  description = "Public address of the bastion; null if there is none"
}

output "api_endpoint" {
  value       = module.cluster.api_endpoint
  description = "Where nodes and kubectl find the API: the internal load balancer, as host:port"
}

output "nat_addresses" {
  value       = module.hub.nat_addresses
  description = "The addresses that the internet sees machines come from, by zone. Of an existing VPC: none that are known"
}

output "buckets" {
  value       = module.hub.buckets
  description = "Names of the state, backup and bundle buckets"
}

output "machines" {
  value = merge(
    module.hub.machines,
    module.cluster.machines,
    one(module.jenkins[*].machines),
    one(module.foreman[*].machines),
  )
  description = "Machines that keep their name: instance, private address and role"
}

output "groups" {
  value       = module.cluster.groups
  description = "The autoscaling group of each pool"
}

output "service_addresses" {
  value = merge(
    module.cluster.service_addresses,
    one(module.jenkins[*].service_addresses),
    one(module.foreman[*].service_addresses),
  )
  description = "Where each public service is reached: the name of its load balancer, for a CNAME or alias of one's own"
}
