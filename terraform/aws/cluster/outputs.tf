# What the module says of what it made.

locals {
  autoscaling_groups = merge(aws_autoscaling_group.control_plane, aws_autoscaling_group.worker)
}

output "api_endpoint" {
  value       = "api.${local.cluster}.internal:6443"
  description = "Where nodes and kubectl find the API: the internal load balancer, as host:port"
}

output "machines" {
  value = {
    for name, m in var.machines : name => {
      instance_id = aws_instance.etcd[name].id
      private_ip  = aws_network_interface.etcd[name].private_ip
      role        = m.role
    }
  }
  description = "The etcd machines: instance, private address and role"
}

output "groups" {
  value       = { for pool, group in local.autoscaling_groups : pool => group.name }
  description = "The autoscaling group of each pool"
}

output "service_addresses" {
  value       = { for name, lb in aws_lb.service : name => lb.dns_name }
  description = "Where each public service is reached: the name of its load balancer"
}
