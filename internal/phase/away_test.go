package phase

import (
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

func TestFirstExpiry(t *testing.T) {
	uses := func(name string, ca unit.CA, profile string) unit.Unit {
		return unit.Unit{Name: name, Certificates: []unit.Certificate{{Profile: unit.Profile{CA: ca, Name: profile}}}}
	}
	units := map[string][]unit.Unit{
		"worker-0": {uses("containerd", "", ""), uses("kubelet", unit.CAKubernetes, "kubelet"), uses("kube-proxy", unit.CAKubernetes, "kube-proxy")},
		"etcd-0":   {uses("etcd-k8s", unit.CAEtcdKubernetes, "server")},
		"vault-0":  {uses("vault", unit.CAVault, "vault")},
	}
	leaf := func(machine string, ca unit.CA, name string, hour int) diskLeaf {
		return diskLeaf{Machine: machine, CA: ca, Name: name, NotAfter: time.Date(2026, 3, 1, hour, 30, 0, 0, time.UTC)}
	}
	leaves := []diskLeaf{
		leaf("vault-0", unit.CAVault, "vault", 1),            // nobody's while Vault is away
		leaf("worker-0", unit.CAKubernetes, "calico-cni", 2), // no unit's
		leaf("worker-0", unit.CAKubernetes, "kube-proxy", 12),
		leaf("worker-0", unit.CAKubernetes, "kubelet", 9),
		leaf("etcd-0", unit.CAEtcdKubernetes, "server", 10),
	}
	for hour, want := range map[int]string{
		3:  "certificates expire from 2026-03-01 09:30 UTC (worker-0 kubelet) unless Vault returns",
		10: "1 of 3 certificates have expired since 2026-03-01 09:30 UTC (worker-0 kubelet), the next does at 2026-03-01 10:30 UTC (etcd-0 etcd-k8s) unless Vault returns",
		13: "every certificate has expired, the last at 2026-03-01 12:30 UTC (worker-0 kube-proxy): Vault has to return",
	} {
		if got := firstExpiry(leaves, units, time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("at %d:\ngot  %s\nwant %s", hour, got, want)
		}
	}
	if got := firstExpiry(leaves[:2], units, time.Time{}); got != "" {
		t.Errorf("without certificates of units: %s", got)
	}
}
