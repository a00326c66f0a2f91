# What the module is given.

variable "network" {
  type = object({
    cluster            = string
    region             = string
    account            = string
    partition          = string
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = list(string)
    security_group_ids = map(string)
    dns_zone_id        = string
    image_id           = string
    boot_objects       = list(string)
  })
  description = "Where the machine goes: output `network` of module hub, or the same of one's own"
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

variable "name" {
  type        = string
  description = "Name of the machine"
}

variable "machine" {
  type = object({
    zone          = number
    instance_type = string
    volume_gib    = number
  })
  description = "The machine: its zone's place, its type and the size of its disk"
}

variable "service" {
  type = object({
    port            = number
    target_port     = number
    certificate_arn = string
  })
  description = "The public port with its certificate, and the machine's own"
}

variable "foreman" {
  type        = string
  default     = "3.16"
  description = "Version of Foreman"
}
