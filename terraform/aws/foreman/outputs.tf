# What the module says of what it made.

output "machines" {
  value = {
    (var.name) = {
      instance_id = aws_instance.foreman.id
      private_ip  = aws_network_interface.foreman.private_ip
      role        = "hub"
    }
  }
  description = "The machine: instance, private address and role"
}

output "service_addresses" {
  value       = { foreman = aws_lb.foreman.dns_name }
  description = "Where Foreman is reached: the name of its load balancer"
}
