path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "demo/machines/data/batch/desired" {
  capabilities = ["read"]
}

# whether there is a newer one
path "demo/machines/metadata/batch/desired" {
  capabilities = ["read"]
}

path "demo/machines/data/{{identity.entity.aliases.<pool>.metadata.instance_id}}.{{identity.entity.aliases.<pool>.metadata.region}}.compute.internal/status" {
  capabilities = ["create", "read", "update"]
}

path "demo/pki/etcd-overlay/sign/calico-node" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["calico-node"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kubelet" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kubelet-serving" {
  capabilities = ["update"]
  allowed_parameters = {
    "alt_names" = []
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kube-proxy" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["system:kube-proxy"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/calico-cni" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

# its own host key
path "demo/ssh/host/sign/member" {
  capabilities = ["update"]
  allowed_parameters = {
    "cert_type" = ["host"]
    "public_key" = []
    "valid_principals" = []
  }
}
