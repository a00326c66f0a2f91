# Ashlar writes these from a Cluster, as JSON. None of them is a secret, and none may become one: what is
# given here ends up in the plan and in the state.

variable "cluster" {
  type        = string
  description = "Name of the cluster. Everything that is made begins with it"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.cluster))
    error_message = "cluster must be a DNS label of at most 20 characters that begins with a letter."
  }
}

variable "region" {
  type        = string
  description = "AWS region, as eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2,3}(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the name of an AWS region, as eu-west-1."
  }
}

variable "zones" {
  type        = list(string)
  description = "Availability zones by their full names, one to three. A machine's zone is its place in this list"

  validation {
    condition     = length(var.zones) >= 1 && length(var.zones) <= 3
    error_message = "zones must name one to three availability zones."
  }

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must not name the same availability zone twice."
  }

  validation {
    condition     = alltrue([for z in var.zones : startswith(z, var.region)])
    error_message = "zones must be in the region, as eu-west-1a is in eu-west-1."
  }
}

variable "vpc_cidr" {
  type        = string
  default     = "10.0.0.0/16"
  description = "Range of the VPC, /16 to /22. Three quarters are private subnets, a quarter is public ones. Not used with existing_vpc"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && tonumber(try(split("/", var.vpc_cidr)[1], 0)) >= 16 && tonumber(try(split("/", var.vpc_cidr)[1], 99)) <= 22
    error_message = "vpc_cidr must be an IPv4 range of /16 to /22: smaller ones have no room for load balancers in every public subnet."
  }
}

variable "existing_vpc" {
  type = object({
    id                 = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
  })
  default     = null
  description = "A VPC that is there already, with a public and a private subnet for each of the zones, in their order. Private subnets must have a route to the internet through NAT. null makes a VPC"

  validation {
    condition = var.existing_vpc == null ? true : (
      length(var.existing_vpc.public_subnet_ids) == length(var.zones) && length(var.existing_vpc.private_subnet_ids) == length(var.zones)
    )
    error_message = "existing_vpc must name one public and one private subnet for each of the zones, in their order."
  }
}

variable "image_id" {
  type        = string
  default     = ""
  description = "Image of all machines. Empty looks up the newest of image_owner that is named image_name"

  validation {
    condition     = var.image_id == "" || can(regex("^ami-[0-9a-f]+$", var.image_id))
    error_message = "image_id must be empty or the id of an image, as ami-0123456789abcdef0."
  }
}

variable "image_owner" {
  type        = string
  default     = "792107900819"
  description = "Account that publishes the image: the default is the Rocky Enterprise Software Foundation"
}

variable "image_name" {
  type        = string
  default     = "Rocky-10-EC2-Base-10.*.x86_64"
  description = "Name of the image, with wildcards. It must boot with SELinux enforcing"
}

variable "trusted_cidrs" {
  type        = list(string)
  description = "The only addresses of the internet that reach the bastion and the public load balancers"

  validation {
    condition     = alltrue([for c in var.trusted_cidrs : can(cidrhost(c, 0))])
    error_message = "trusted_cidrs must be IPv4 ranges, as 198.51.100.0/24."
  }
}

variable "rules" {
  type = list(object({
    from     = string
    to       = string
    protocol = string
    port     = number
    why      = string
  }))
  description = "Who may open a connection to whom, and why. Ends are roles, or trusted, operator (from) and outside (to). Protocol is tcp, udp, or empty for any; port 0 is any. Nothing else opens anything"

  validation {
    condition = alltrue([
      for r in var.rules : contains(["vault", "etcd", "lb", "control-plane", "worker", "bastion", "public-lb", "hub", "trusted", "operator"], r.from)
    ])
    error_message = "rules: from must be a role, trusted or operator."
  }

  validation {
    condition = alltrue([
      for r in var.rules : contains(["vault", "etcd", "lb", "control-plane", "worker", "bastion", "public-lb", "hub", "outside"], r.to)
    ])
    error_message = "rules: to must be a role or outside."
  }

  validation {
    condition     = alltrue([for r in var.rules : contains(["tcp", "udp", ""], r.protocol) && r.port >= 0 && r.port <= 65535])
    error_message = "rules: protocol must be tcp, udp or empty, and port 0 to 65535."
  }

  validation {
    condition     = alltrue([for r in var.rules : r.from != "trusted" || contains(["bastion", "public-lb"], r.to)])
    error_message = "rules: only the bastion and public-lb have public addresses, so that nothing else can be opened to trusted."
  }

  validation {
    condition     = alltrue([for r in var.rules : r.why != ""])
    error_message = "rules: every rule must say why."
  }
}

variable "machines" {
  type = map(object({
    role            = string
    zone            = number
    instance_type   = string
    volume_gib      = number
    data_volume_gib = number
  }))
  description = "Machines that keep their name: of the roles vault, etcd, bastion and hub. Zone is a place in zones; data_volume_gib 0 is no data volume"

  validation {
    condition     = alltrue([for m in values(var.machines) : contains(["vault", "etcd", "bastion", "hub"], m.role)])
    error_message = "machines must be of role vault, etcd, bastion or hub. Those of control-plane and worker are groups."
  }

  validation {
    condition     = alltrue([for m in values(var.machines) : m.zone >= 0 && m.zone < length(var.zones)])
    error_message = "machines: zone must be the place of a zone in zones, from 0."
  }

  validation {
    condition     = length([for m in values(var.machines) : m if m.role == "bastion"]) <= 1
    error_message = "machines: there is one bastion at most."
  }

  validation {
    condition     = alltrue([for r in ["vault", "etcd"] : contains([1, 3, 5], length([for m in values(var.machines) : m if m.role == r]))])
    error_message = "machines must have 1, 3 or 5 of role vault and as many of role etcd: a majority must be able to survive a loss."
  }

  validation {
    condition     = alltrue([for m in values(var.machines) : m.data_volume_gib > 0 || !contains(["vault", "etcd"], m.role)])
    error_message = "machines of role vault and etcd must have a data volume."
  }
}

variable "groups" {
  type = map(object({
    role          = string
    min           = number
    max           = number
    instance_type = string
    spot          = bool
    volume_gib    = number
    extra_volumes = list(object({
      device = string
      gib    = number
    }))
    labels = map(string)
    taints = list(string)
  }))
  description = "Machines that come and go: pools of role control-plane and worker. Extra volumes are encrypted and die with their machine. Taints are written key=value:Effect"

  validation {
    condition     = alltrue([for g in values(var.groups) : contains(["control-plane", "worker"], g.role)])
    error_message = "groups must be of role control-plane or worker."
  }

  validation {
    condition     = alltrue([for g in values(var.groups) : g.min >= 0 && g.max >= g.min && g.max > 0])
    error_message = "groups: max must be at least 1, and not less than min."
  }

  validation {
    condition     = alltrue([for g in values(var.groups) : !(g.spot && g.role == "control-plane")])
    error_message = "groups: control-plane machines must not be spot instances, which AWS takes back when it likes."
  }

  validation {
    condition     = alltrue(flatten([for g in values(var.groups) : [for t in g.taints : can(regex("^[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$", t))]]))
    error_message = "groups: taints must be written key=value:Effect, with the effect NoSchedule, PreferNoSchedule or NoExecute."
  }

  validation {
    condition     = alltrue(flatten([for g in values(var.groups) : [for v in g.extra_volumes : can(regex("^/dev/sd[f-p]$", v.device)) && v.gib > 0]]))
    error_message = "groups: extra_volumes must have a device of /dev/sdf to /dev/sdp and a size."
  }
}

variable "services" {
  type = list(object({
    name            = string
    port            = number
    pool            = string
    target_port     = number
    certificate_arn = string
    plaintext       = bool
  }))
  default     = []
  description = "What is public beside the bastion: a load balancer each, in front of the machines of a pool. With certificate_arn it ends TLS (and goes on with TLS, or without if plaintext); else it hands connections through"

  validation {
    condition     = length(distinct([for s in var.services : s.name])) == length(var.services)
    error_message = "services must have a name each."
  }

  validation {
    condition     = alltrue([for s in var.services : can(regex("^[a-z]([a-z0-9-]{0,9}[a-z0-9])?$", s.name))])
    error_message = "services: name must be a DNS label of at most 11 characters: with the cluster's it is the name of a load balancer, which has room for 32."
  }

  validation {
    condition     = alltrue([for s in var.services : s.certificate_arn == "" || length(var.zones) > 1])
    error_message = "services with a certificate_arn are served by application load balancers, which need at least two zones."
  }
}

variable "bundle" {
  type = object({
    digest = string
    key    = string
  })
  description = "The software of the cluster: its digest, and its key in the bundle bucket"
}

variable "jenkins" {
  type = object({
    machine      = string
    service      = string
    repository   = string
    branch       = optional(string, "main")
    cluster_file = optional(string, "cluster.yaml")
  })
  default     = null
  description = "Jenkins: its machine (in machines, of role hub), its service (in services, with a certificate), and the git repository, branch and path of the Cluster that it plans and brings up"

  validation {
    condition     = var.jenkins == null ? true : try(var.machines[var.jenkins.machine].role == "hub", false)
    error_message = "jenkins.machine must be one of machines, of role hub."
  }

  validation {
    condition     = var.jenkins == null ? true : length([for s in var.services : s if s.name == var.jenkins.service && s.certificate_arn != ""]) == 1
    error_message = "jenkins.service must be one of services, with a certificate_arn: Jenkins is not served without TLS."
  }

  validation {
    condition     = var.jenkins == null ? true : can(regex("^https://[^@ ]+$", var.jenkins.repository))
    error_message = "jenkins.repository must be an https address without a user or password: a secret must not be written here."
  }
}

variable "foreman" {
  type = object({
    machine = string
    service = string
  })
  default     = null
  description = "Foreman and its Puppet server: its machine (in machines, of role hub) and its service (in services, with a certificate)"

  validation {
    condition     = var.foreman == null ? true : try(var.machines[var.foreman.machine].role == "hub", false)
    error_message = "foreman.machine must be one of machines, of role hub."
  }

  validation {
    condition     = var.foreman == null ? true : length([for s in var.services : s if s.name == var.foreman.service && s.certificate_arn != ""]) == 1
    error_message = "foreman.service must be one of services, with a certificate_arn: Foreman is not served without TLS."
  }
}
