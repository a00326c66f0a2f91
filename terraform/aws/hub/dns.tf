# Names that only this VPC knows.

resource "aws_route53_zone" "this" {
  name          = "${var.cluster}.internal"
  comment       = "Machines of ${var.cluster}"
  force_destroy = false

  vpc {
    vpc_id = local.vpc_id
  }
}

resource "aws_route53_record" "machine" {
  for_each = local.interfaces

  zone_id = aws_route53_zone.this.zone_id
  name    = "${each.key}.${var.cluster}.internal"
  type    = "A"
  ttl     = 60
  records = [each.value.private_ip]
}
