# Names of the API and of etcd, in the hub's private zone.

resource "aws_route53_record" "api" {
  zone_id = var.network.dns_zone_id
  name    = "api.${local.cluster}.internal"
  type    = "A"

  alias {
    name                   = aws_lb.api.dns_name
    zone_id                = aws_lb.api.zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "etcd" {
  for_each = var.machines

  zone_id = var.network.dns_zone_id
  name    = "${each.key}.${local.cluster}.internal"
  type    = "A"
  ttl     = 60
  records = [aws_network_interface.etcd[each.key].private_ip]
}
