# What the module is given.

variable "cluster" {
  type        = string
  description = "Name of the cluster"
}
