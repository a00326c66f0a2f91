variable "cluster" {
  type        = string
  description = "Name of the cluster"
}
