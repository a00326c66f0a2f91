variable "zones" {
  type = list(string)
}

resource "terraform_data" "subnet" {
  count = length(var.zones)
  input = cidrsubnet("10.0.0.0/16", 8, count.index)
}

resource "terraform_data" "gateway" {
  count = length(var.zones) > 1 ? 1 : 0
}

resource "terraform_data" "association" {
  count = length(var.zones)
  input = [terraform_data.subnet[count.index].id, terraform_data.gateway[0].id]
}

output "subnets" {
  value = terraform_data.subnet
}

output "gateway" {
  value = terraform_data.gateway[*].id
}
