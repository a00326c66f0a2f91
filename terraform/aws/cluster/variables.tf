# What the module is given.

variable "network" {
  type = object({
    cluster            = string
    region             = string
    account            = string
    partition          = string
    zones              = list(string)
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = list(string)
    private_fixed      = map(string)
    security_group_ids = map(string)
    dns_zone_id        = string
    image_id           = string
    boot_objects       = list(string)
  })
  description = "Where the machines go: output `network` of module hub, or the same of one's own"
}

variable "boot" {
  type = object({
    cluster         = string
    region          = string
    vault_addresses = list(string)
    bundle_bucket   = string
    bundle_key      = string
    bundle_digest   = string
  })
  description = "What every machine is told at its first boot: output `boot` of module hub"
}

variable "machines" {
  type = map(object({
    role            = string
    zone            = number
    instance_type   = string
    volume_gib      = number
    data_volume_gib = number
  }))
  description = "Machines of role etcd"
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
  description = "Pools of role control-plane and worker"
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
  description = "What is public, by the machines of a pool"
}

variable "hub_instances" {
  type        = map(string)
  default     = {}
  description = "Instances of role hub by machine, for services of their pools"
}
