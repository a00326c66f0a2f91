path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "demo/machines/data/{{identity.entity.metadata.machine}}/desired" {
  capabilities = ["read"]
}

# whether there is a newer one
path "demo/machines/metadata/{{identity.entity.metadata.machine}}/desired" {
  capabilities = ["read"]
}

path "demo/machines/data/{{identity.entity.metadata.machine}}/status" {
  capabilities = ["create", "read", "update"]
}

# its own host key
path "demo/ssh/host/sign/machine" {
  capabilities = ["update"]
  allowed_parameters = {
    "cert_type" = ["host"]
    "public_key" = []
    "valid_principals" = []
  }
}
