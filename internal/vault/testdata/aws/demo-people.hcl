path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# prove to the API server who one is
path "identity/oidc/token/demo" {
  capabilities = ["read"]
}

# only for who is in that group
path "demo/ssh/user/sign/group-{{identity.groups.names.on-call.name}}" {
  capabilities = ["update"]
  allowed_parameters = {
    "cert_type" = ["user"]
    "public_key" = []
    "valid_principals" = []
  }
}
