package unit

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// TestLabels: what pods must not read is labelled so, and nothing that has pods' own categories in it is walked through.
func TestLabels(t *testing.T) {
	for _, role := range []v1alpha1.Role{v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker, v1alpha1.RoleLB, v1alpha1.RoleBastion} {
		d := Desired{Self: "m", Machines: []Machine{{Name: "m", Role: role, Address: netip.MustParseAddr("10.0.0.1")}}}
		seen := map[string]bool{}
		for _, l := range Labels(d) {
			if seen[l.Path] || !strings.HasPrefix(l.Path, "/") || strings.HasSuffix(l.Path, "/") || len(l.Types) == 0 {
				t.Errorf("%s: %+v is twice, no path, or of no type", role, l)
			}
			seen[l.Path] = true
			for _, typ := range l.Types {
				if !strings.HasSuffix(typ, "_t") {
					t.Errorf("%s: %s is no type", role, typ)
				}
			}
			// What has pods' own categories in it must never be walked through.
			if l.Tree && slices.ContainsFunc([]string{"/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/var/log/pods"},
				func(of string) bool { return strings.HasPrefix(of+"/", l.Path+"/") }) {
				t.Errorf("%s: %s would take pods' labels away", role, l.Path)
			}
		}
		for _, secret := range []string{PKIDir, VaultTokenFile, BootFile, InitTokenFile} {
			if !slices.ContainsFunc(Labels(d), func(l Label) bool {
				return l.Tree && strings.HasPrefix(secret, l.Path+"/") && slices.Equal(l.Types, ofAgent)
			}) {
				t.Errorf("%s: %s has no label that keeps pods from it", role, secret)
			}
		}
		if seen[Bin+"/runc"] != (role == v1alpha1.RoleWorker) {
			t.Errorf("%s: runc is labelled: %t", role, seen[Bin+"/runc"])
		}
	}
}
