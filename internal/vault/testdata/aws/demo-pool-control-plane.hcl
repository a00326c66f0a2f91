path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "demo/machines/data/control-plane/desired" {
  capabilities = ["read"]
}

# whether there is a newer one
path "demo/machines/metadata/control-plane/desired" {
  capabilities = ["read"]
}

path "demo/machines/data/{{identity.entity.aliases.<pool>.metadata.instance_id}}.{{identity.entity.aliases.<pool>.metadata.region}}.compute.internal/status" {
  capabilities = ["create", "read", "update"]
}

# the API servers share the key that signs ServiceAccount tokens
path "demo/secrets/data/service-account" {
  capabilities = ["read"]
}

# and its successors
path "demo/secrets/data/service-account/+" {
  capabilities = ["read"]
}

# encryption at rest: use the key, never see it
path "demo/transit/encrypt/etcd" {
  capabilities = ["update"]
}

path "demo/transit/decrypt/etcd" {
  capabilities = ["update"]
}

# which version of the key is the latest
path "demo/transit/keys/etcd" {
  capabilities = ["read"]
}

path "demo/pki/etcd-k8s/sign/kube-apiserver" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["kube-apiserver"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/etcd-overlay/sign/calico-kube-controllers" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["calico-kube-controllers"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kube-apiserver" {
  capabilities = ["update"]
  allowed_parameters = {
    "alt_names" = []
    "common_name" = ["kube-apiserver"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
    "ip_sans" = ["10.96.0.1"]
  }
}

path "demo/pki/kubernetes/sign/kube-apiserver-kubelet-client" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/control-plane" {
  capabilities = ["update"]
  allowed_parameters = {
    "alt_names" = []
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kube-controller-manager" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["system:kube-controller-manager"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/kube-scheduler" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["system:kube-scheduler"]
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/calico-kube-controllers" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/kubernetes/sign/baseline-controller" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = []
    "csr" = []
    "exclude_cn_from_sans" = [true]
  }
}

path "demo/pki/front-proxy/sign/front-proxy-client" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["front-proxy-client"]
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
