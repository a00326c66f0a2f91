variable "zone" {
  type = string
}

variable "subnet" {
  type = string
}

variable "groups" {
  type = list(string)
}

resource "terraform_data" "part" {
  input = { zone = var.zone, subnet = var.subnet, groups = sort(var.groups) }
}

output "id" {
  value = terraform_data.part.id
}
