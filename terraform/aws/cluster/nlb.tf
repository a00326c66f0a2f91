# The internal load balancer in front of the API servers. It is in private subnets, and has no public address.

resource "aws_lb" "api" {
  name                             = "${local.cluster}-api"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = var.network.private_subnet_ids
  security_groups                  = [local.security_groups["lb"]]
  enable_cross_zone_load_balancing = true

  tags = { Name = "${local.cluster}-api" }
}

resource "aws_lb_target_group" "api" {
  name                 = "${local.cluster}-api"
  vpc_id               = var.network.vpc_id
  target_type          = "instance"
  protocol             = "TCP"
  port                 = 6443
  deregistration_delay = 60

  # With the client's address kept, a control-plane machine that is sent back to itself would wait for ever.
  preserve_client_ip = false

  health_check {
    protocol            = "HTTPS"
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = { Name = "${local.cluster}-api" }
}

resource "aws_lb_listener" "api" {
  load_balancer_arn = aws_lb.api.arn
  protocol          = "TCP"
  port              = 6443

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

resource "aws_autoscaling_attachment" "api" {
  for_each = aws_autoscaling_group.control_plane

  autoscaling_group_name = each.value.name
  lb_target_group_arn    = aws_lb_target_group.api.arn
}
