package unit_test

import (
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// In a cloud systemd makes pods' groups, Vault unseals by KMS, and Calico starts on a machine of which nobody knew only after the
// etcd machines have heard of it. On this host it is all otherwise.
func TestCloud(t *testing.T) {
	for _, region := range []string{"", "eu-west-1"} {
		cloud := region != ""
		of := func(role v1alpha1.Role) []unit.Unit {
			d := small
			d.Region, d.Self = region, small.WithRole(role)[0].Name
			return unit.For(d)
		}
		worker, etcd, vault := of(v1alpha1.RoleWorker), of(v1alpha1.RoleEtcd), of(v1alpha1.RoleVault)
		for what, has := range map[string]bool{
			"kubelet by systemd":       strings.Contains(text(worker, "kubelet"), "cgroupDriver: systemd\n"),
			"containerd by systemd":    strings.Contains(text(worker, "containerd"), "SystemdCgroup = true"),
			"wait for nothing of it":   slices.Contains(named(worker, "calico-wait").Args, "--unannounced"),
			"wait once it is known":    slices.Equal(named(worker, "calico-tunnel").After, []string{"calico-announced"}),
			"and then for all":         named(worker, "calico-announced").Args != nil && !slices.Contains(named(worker, "calico-announced").Args, "--unannounced"),
			"records for who comes":    slices.Contains(named(etcd, "etcd-overlay-members").Args, "--follow"),
			"members are in the file":  strings.Contains(text(etcd, "etcd-overlay-auth"), `"members": true`),
			"Vault unseals by the key": strings.Contains(text(vault, "vault"), `kms_key_id = "alias/demo-vault"`) && strings.Contains(text(vault, "vault"), `"eu-west-1"`),
		} {
			if has != cloud {
				t.Errorf("region %q: %s: %v", region, what, has)
			}
		}
	}
}

func named(units []unit.Unit, name string) unit.Unit {
	i := slices.IndexFunc(units, func(u unit.Unit) bool { return u.Name == name })
	if i < 0 {
		return unit.Unit{}
	}
	return units[i]
}

// text is all that is in a unit's files.
func text(units []unit.Unit, name string) string {
	var b strings.Builder
	for _, f := range named(units, name).Files {
		b.WriteString(f.Content)
	}
	return b.String()
}
