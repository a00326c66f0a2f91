package claim

import (
	"slices"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// TestMayReachAPI asks for every pair: who is not named here may not.
func TestMayReachAPI(t *testing.T) {
	const internet v1alpha1.Role = ""
	may := map[v1alpha1.Role][]v1alpha1.Role{
		v1alpha1.RoleLB:           {provider.Operator, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker, v1alpha1.RoleLB},
		v1alpha1.RoleControlPlane: {v1alpha1.RoleLB, v1alpha1.RoleControlPlane},
	}
	for _, from := range append([]v1alpha1.Role{internet, provider.Operator, "bastion"}, v1alpha1.Roles...) {
		for _, to := range v1alpha1.Roles {
			if got, want := mayReachAPI(from, to), slices.Contains(may[to], from); got != want {
				t.Errorf("from %q to %q: %t, want %t", from, to, got, want)
			}
		}
	}
}
