# What the module is given.

variable "cluster" {
  type        = string
  description = "Name of the cluster"
}

variable "region" {
  type        = string
  description = "AWS region"
}

variable "zones" {
  type        = list(string)
  description = "Availability zones by their full names, one to three"
}

variable "vpc_cidr" {
  type        = string
  default     = "10.0.0.0/16"
  description = "Range of the VPC, /16 to /22. Not used with existing_vpc"
}

variable "existing_vpc" {
  type = object({
    id                 = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
  })
  default     = null
  description = "A VPC that is there already, with a public and a private subnet for each of the zones, in their order. null makes one"
}

variable "image_id" {
  type        = string
  default     = ""
  description = "Image of all machines. Empty looks up the newest of image_owner that is named image_name"
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
}

variable "rules" {
  type = list(object({
    from     = string
    to       = string
    protocol = string
    port     = number
    why      = string
  }))
  description = "Who may open a connection to whom, and why"
}

variable "machines" {
  type = map(object({
    role            = string
    zone            = number
    instance_type   = string
    volume_gib      = number
    data_volume_gib = number
  }))
  description = "Machines of role vault, bastion and hub"
}

variable "vault_names" {
  type        = list(string)
  description = "The machines of role vault, which every machine is told"
}

variable "bundle" {
  type = object({
    digest = string
    key    = string
  })
  description = "The software of the cluster: its digest, and its key in the bundle bucket"
}

variable "flow_log_days" {
  type        = number
  default     = 90
  description = "How long the VPC's flow logs are kept"
}

variable "key_deletion_days" {
  type        = number
  default     = 30
  description = "How long a destroyed KMS key can still be brought back, 7 to 30 days"

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30
    error_message = "key_deletion_days must be 7 to 30, which is what KMS takes."
  }
}

variable "destroy_backups" {
  type        = bool
  default     = false
  description = "Whether destroying the cluster destroys its backups too"
}
