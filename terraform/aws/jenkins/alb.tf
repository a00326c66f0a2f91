# The public face of Jenkins: a load balancer that ends TLS, which only trusted addresses reach (rules: trusted to
# public-lb), and goes on to the machine in TLS.

resource "aws_lb" "jenkins" {
  name                       = "${local.cluster}-jenkins"
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.network.public_subnet_ids
  security_groups            = [var.network.security_group_ids["public-lb"]]
  drop_invalid_header_fields = true

  tags = { Name = "${local.cluster}-jenkins" }
}

resource "aws_lb_target_group" "jenkins" {
  name        = "${local.cluster}-jenkins"
  vpc_id      = var.network.vpc_id
  target_type = "instance"
  protocol    = "HTTPS"
  port        = var.service.target_port

  health_check {
    protocol = "HTTPS"
    path     = "/login"
    matcher  = "200-399"
  }

  tags = { Name = "${local.cluster}-jenkins" }
}

resource "aws_lb_target_group_attachment" "jenkins" {
  target_group_arn = aws_lb_target_group.jenkins.arn
  target_id        = aws_instance.jenkins.id
}

resource "aws_lb_listener" "jenkins" {
  load_balancer_arn = aws_lb.jenkins.arn
  port              = var.service.port
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.service.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.jenkins.arn
  }
}
