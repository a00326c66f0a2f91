# What the module says of what it made.

output "machines" {
  value = {
    (var.name) = {
      instance_id = aws_instance.jenkins.id
      private_ip  = aws_network_interface.jenkins.private_ip
      role        = "hub"
    }
  }
  description = "The machine: instance, private address and role"
}

output "service_addresses" {
  value       = { jenkins = aws_lb.jenkins.dns_name }
  description = "Where Jenkins is reached: the name of its load balancer"
}
