# What the module says of what it made.

locals {
  interfaces = merge(aws_network_interface.vault, aws_network_interface.bastion, aws_network_interface.hub)
  instances  = merge(aws_instance.vault, aws_instance.bastion, aws_instance.hub)
}

output "network" {
  value = {
    cluster            = var.cluster
    region             = var.region
    account            = local.account
    partition          = local.partition
    zones              = var.zones
    vpc_id             = local.vpc_id
    private_subnet_ids = local.private_subnet_ids
    public_subnet_ids  = local.public_subnet_ids
    private_fixed      = local.private_fixed
    security_group_ids = { for role, group in aws_security_group.role : role => group.id }
    dns_zone_id        = aws_route53_zone.this.zone_id
    image_id           = local.image_id
    boot_objects       = local.boot_objects
    buckets            = local.buckets
  }
  description = "What the modules cluster, jenkins and foreman need to know of the network"

  # Whoever makes machines in the network makes them after it works: reserved addresses, and the way out.
  depends_on = [
    aws_ec2_subnet_cidr_reservation.private,
    aws_route.nat,
    aws_route_table_association.private,
  ]
}

output "boot" {
  value       = local.boot
  description = "What every machine is told at its first boot"
}

output "bastion_address" {
  value       = one([for eip in aws_eip.bastion : eip.public_ip])
  description = "Public address of the bastion; null if there is none"
}

output "nat_addresses" {
  value       = { for zone, eip in aws_eip.nat : zone => eip.public_ip }
  description = "The address that the internet sees machines of a zone come from"
}

output "buckets" {
  value       = local.buckets
  description = "Names of the state, backup and bundle buckets"
}

output "machines" {
  value = {
    for name, m in var.machines : name => {
      instance_id = local.instances[name].id
      private_ip  = local.interfaces[name].private_ip
      role        = m.role
    }
  }
  description = "The machines made here: instance, private address and role"
}
