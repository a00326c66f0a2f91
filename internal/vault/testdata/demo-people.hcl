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
