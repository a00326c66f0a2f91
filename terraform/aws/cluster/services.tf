# What is public: a load balancer for each service, in the public subnets, in front of the machines of its pool. With
# a certificate it ends TLS (an ALB); without one it hands connections through as they are (an NLB).

locals {
  services = { for s in var.services : s.name => merge(s, { tls = s.certificate_arn != "" }) }

  # Services of groups, whose members come and go, and of machines of role hub.
  of_groups = { for name, s in local.services : name => s if contains(keys(var.groups), s.pool) }
  of_hub = merge([
    for name, s in local.services : {
      for machine in keys(var.hub_instances) : "${name} ${machine}" => { service = name, machine = machine } if can(regex("^${s.pool}-[0-9]+$", machine))
    }
  ]...)
}

resource "aws_lb" "service" {
  for_each = local.services

  name                       = "${local.cluster}-${each.key}"
  load_balancer_type         = each.value.tls ? "application" : "network"
  internal                   = false
  subnets                    = var.network.public_subnet_ids
  security_groups            = [local.security_groups["public-lb"]]
  drop_invalid_header_fields = each.value.tls ? true : null

  tags = { Name = "${local.cluster}-${each.key}" }
}

resource "aws_lb_target_group" "service" {
  for_each = local.services

  name        = "${local.cluster}-${each.key}"
  vpc_id      = var.network.vpc_id
  target_type = "instance"
  protocol    = !each.value.tls ? "TCP" : each.value.plaintext ? "HTTP" : "HTTPS"
  port        = each.value.target_port

  health_check {
    protocol = !each.value.tls ? "TCP" : each.value.plaintext ? "HTTP" : "HTTPS"
    # Whatever answers is there: what it says to a visitor without a name is its own affair.
    matcher = each.value.tls ? "200-499" : null
  }

  tags = { Name = "${local.cluster}-${each.key}" }
}

resource "aws_lb_listener" "service" {
  for_each = local.services

  load_balancer_arn = aws_lb.service[each.key].arn
  port              = each.value.port
  protocol          = each.value.tls ? "HTTPS" : "TCP"
  ssl_policy        = each.value.tls ? "ELBSecurityPolicy-TLS13-1-2-2021-06" : null
  certificate_arn   = each.value.tls ? each.value.certificate_arn : null

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service[each.key].arn
  }
}

resource "aws_autoscaling_attachment" "service" {
  for_each = local.of_groups

  autoscaling_group_name = local.autoscaling_groups[each.value.pool].name
  lb_target_group_arn    = aws_lb_target_group.service[each.key].arn
}

resource "aws_lb_target_group_attachment" "service" {
  for_each = local.of_hub

  target_group_arn = aws_lb_target_group.service[each.value.service].arn
  target_id        = var.hub_instances[each.value.machine]
}
