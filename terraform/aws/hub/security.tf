# Who may open a connection to whom. A group for each role, and for each of var.rules a rule on both ends of it, with
# why. Nothing else opens anything.

locals {
  roles = toset(["vault", "etcd", "lb", "control-plane", "worker", "bastion", "public-lb", "hub"])

  # A rule with a port but no protocol is two of EC2's.
  spread = flatten([
    for r in var.rules : [
      for protocol in(r.protocol == "" && r.port != 0 ? ["tcp", "udp"] : [r.protocol == "" ? "-1" : r.protocol]) : {
        # The operator comes through the bastion.
        from     = r.from == "operator" ? "bastion" : r.from
        to       = r.to
        protocol = protocol
        port     = r.port
        # EC2 takes no apostrophe in a description, and 255 characters.
        why = replace(r.why, "/[^a-zA-Z0-9. _:/()#,@+=&;{}!$*-]/", "")
      }
    ]
  ])

  # Rules by their ends: two that open the same are one, with both reasons.
  by_ends = { for r in local.spread : "${r.from} to ${r.to} ${r.protocol == "-1" ? "any" : r.protocol} ${r.port == 0 ? "any" : r.port}" => r... }
  rules = {
    for ends, same in local.by_ends : ends => merge(same[0], {
      why       = substr(join("; ", distinct(same[*].why)), 0, 255)
      from_port = same[0].protocol == "-1" ? null : same[0].port
      to_port   = same[0].protocol == "-1" ? null : same[0].port == 0 ? 65535 : same[0].port
    })
  }

  # Between roles; from trusted addresses, a rule for each of them; and to the internet.
  inside = { for ends, r in local.rules : ends => r if r.from != "trusted" && r.to != "outside" }
  out    = { for ends, r in local.rules : ends => r if r.to == "outside" }
  trusted = merge([
    for ends, r in local.rules : { for cidr in var.trusted_cidrs : "${cidr} ${ends}" => merge(r, { cidr = cidr }) } if r.from == "trusted"
  ]...)
}

resource "aws_security_group" "role" {
  for_each = local.roles

  name        = "${var.cluster}-${each.key}"
  description = "Machines of role ${each.key}"
  vpc_id      = local.vpc_id

  tags = { Name = "${var.cluster}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = local.inside

  security_group_id            = aws_security_group.role[each.value.to].id
  referenced_security_group_id = aws_security_group.role[each.value.from].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.from_port
  to_port                      = each.value.to_port
  description                  = each.value.why

  tags = { Name = each.key, From = each.value.from, To = each.value.to }
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each = local.inside

  security_group_id            = aws_security_group.role[each.value.from].id
  referenced_security_group_id = aws_security_group.role[each.value.to].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.from_port
  to_port                      = each.value.to_port
  description                  = each.value.why

  tags = { Name = each.key, From = each.value.from, To = each.value.to }
}

resource "aws_vpc_security_group_ingress_rule" "trusted" {
  for_each = local.trusted

  security_group_id = aws_security_group.role[each.value.to].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = each.value.protocol
  from_port         = each.value.from_port
  to_port           = each.value.to_port
  description       = each.value.why

  tags = { Name = each.key, From = each.value.from, To = each.value.to }
}

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.out

  security_group_id = aws_security_group.role[each.value.from].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = each.value.protocol
  from_port         = each.value.from_port
  to_port           = each.value.to_port
  description       = each.value.why

  tags = { Name = each.key, From = each.value.from, To = each.value.to }
}
