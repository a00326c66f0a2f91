path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# init tokens: only wrapped, so that their first use is noticed
path "auth/demo/approle/role/+/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "600s"
  allowed_parameters = {
  }
}

# a stolen token must not become a lasting credential
path "auth/demo/approle/role/operator/secret-id" {
  capabilities = ["deny"]
}

# tell machines what to be
path "demo/machines/data/+/desired" {
  capabilities = ["create", "read", "update"]
}

path "demo/machines/data/+/status" {
  capabilities = ["read"]
}

# make the key once, and never read it
path "demo/secrets/data/service-account" {
  capabilities = ["create"]
}

path "demo/secrets/metadata/service-account" {
  capabilities = ["read"]
}

# the journal of rotations
path "demo/secrets/data/rotation" {
  capabilities = ["create", "read", "update"]
}

path "demo/pki/+/issuers" {
  capabilities = ["list"]
}

# withdraw a certificate, named by its serial number or shown
path "demo/pki/+/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "certificate" = []
    "serial_number" = []
  }
}

# what was revoked has no session left
path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}

path "auth/demo/robots/role/+/secret-id" {
  capabilities = ["list"]
}

path "auth/demo/robots/role/+/secret-id-accessor/destroy" {
  capabilities = ["update"]
}

path "demo/secrets/data/revoked" {
  capabilities = ["create", "read", "update"]
}

# `ashlar verify` logs in, and is locked out, as somebody in no group
path "auth/demo/users/users/ashlar-verify" {
  capabilities = ["create", "update", "delete"]
}

path "sys/locked-users/+/unlock/ashlar-verify" {
  capabilities = ["update"]
}

path "demo/pki/kubernetes/sign/admin" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["admin"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

# `ashlar ssh`
path "demo/ssh/user/sign/operator" {
  capabilities = ["update"]
  allowed_parameters = {
    "cert_type" = ["user"]
    "public_key" = []
    "valid_principals" = []
  }
}

# `ashlar verify`, to show it when it has expired
path "demo/ssh/user/sign/operator-brief" {
  capabilities = ["update"]
  allowed_parameters = {
    "cert_type" = ["user"]
    "public_key" = []
    "valid_principals" = []
  }
}

# read the layout
path "demo/ssh/+/config/ca" {
  capabilities = ["read"]
}

path "demo/ssh/+/roles" {
  capabilities = ["list"]
}

path "demo/ssh/+/roles/+" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/role" {
  capabilities = ["list"]
}

path "auth/demo/aws-machine/roles" {
  capabilities = ["list"]
}

path "auth/demo/aws-machine/role/+" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/config/client" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/config/identity" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/config/tidy/identity-accesslist" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/config/certificates" {
  capabilities = ["list"]
}

path "auth/demo/aws-machine/config/certificate/+" {
  capabilities = ["read"]
}

path "auth/demo/aws-machine/config/sts" {
  capabilities = ["list"]
}

path "auth/demo/aws-machine/identity-accesslist" {
  capabilities = ["list"]
}

# which instances have logged in; to forget one lets it do so again, as an init token does
path "auth/demo/aws-machine/identity-accesslist/+" {
  capabilities = ["read", "delete"]
}

path "auth/demo/aws-pool/role" {
  capabilities = ["list"]
}

path "auth/demo/aws-pool/roles" {
  capabilities = ["list"]
}

path "auth/demo/aws-pool/role/+" {
  capabilities = ["read"]
}

path "auth/demo/aws-pool/config/client" {
  capabilities = ["read"]
}

path "auth/demo/aws-pool/config/identity" {
  capabilities = ["read"]
}

path "auth/demo/aws-pool/config/tidy/identity-accesslist" {
  capabilities = ["read"]
}

path "auth/demo/aws-pool/config/certificates" {
  capabilities = ["list"]
}

path "auth/demo/aws-pool/config/certificate/+" {
  capabilities = ["read"]
}

path "auth/demo/aws-pool/config/sts" {
  capabilities = ["list"]
}

path "auth/demo/aws-pool/identity-accesslist" {
  capabilities = ["list"]
}

# which instances have logged in; to forget one lets it do so again, as an init token does
path "auth/demo/aws-pool/identity-accesslist/+" {
  capabilities = ["read", "delete"]
}

# what a machine said that is gone
path "demo/machines/metadata/+/status" {
  capabilities = ["delete"]
}

# a member of a group, by its instance
path "identity/lookup/entity" {
  capabilities = ["update"]
  allowed_parameters = {
    "alias_mount_accessor" = []
    "alias_name" = []
  }
}

# read the layout
path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/demo-*" {
  capabilities = ["read"]
}

path "demo/machines/config" {
  capabilities = ["read"]
}

path "demo/machines/metadata" {
  capabilities = ["list"]
}

path "demo/machines/metadata/+" {
  capabilities = ["list"]
}

path "demo/secrets/config" {
  capabilities = ["read"]
}

path "demo/transit/keys" {
  capabilities = ["list"]
}

path "demo/transit/keys/+" {
  capabilities = ["read"]
}

path "demo/pki/+/roles" {
  capabilities = ["list"]
}

path "demo/pki/+/roles/+" {
  capabilities = ["read"]
}

path "demo/pki/+/config/acme" {
  capabilities = ["read"]
}

path "demo/pki/+/config/auto-tidy" {
  capabilities = ["read"]
}

path "demo/pki/+/certs" {
  capabilities = ["list"]
}

path "auth/demo/approle/role" {
  capabilities = ["list"]
}

path "auth/demo/approle/role/+" {
  capabilities = ["read"]
}

path "auth/demo/approle/role/+/role-id" {
  capabilities = ["read"]
}

path "auth/demo/robots/role" {
  capabilities = ["list"]
}

path "auth/demo/robots/role/+" {
  capabilities = ["read"]
}

path "auth/demo/robots/role/+/role-id" {
  capabilities = ["read"]
}

path "auth/demo/provider/config" {
  capabilities = ["read"]
}

path "auth/demo/provider/role" {
  capabilities = ["list"]
}

path "auth/demo/provider/role/+" {
  capabilities = ["read"]
}

path "identity/oidc/config" {
  capabilities = ["read"]
}

path "identity/oidc/key/demo" {
  capabilities = ["read"]
}

path "identity/oidc/role/demo" {
  capabilities = ["read"]
}

path "identity/entity/name" {
  capabilities = ["list"]
}

# shut somebody out; to let them in again takes the unseal key
path "identity/entity/name/+" {
  capabilities = ["read", "update"]
  allowed_parameters = {
    "disabled" = [true]
  }
}

# who is a member
path "sys/storage/raft/configuration" {
  capabilities = ["read"]
}

# Vault asks for sudo even to read these two: the audit devices, and which tokens live
path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}
