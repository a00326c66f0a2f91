package v1alpha1

import (
	"slices"
	"time"
)

// Default fills in what was left out. It is the only place that knows a default; doing it twice changes nothing.
func Default(c *Cluster) {
	s := &c.Spec
	setDefault(&s.KubernetesVersion, "v1.37.2")
	if s.Provider.Local != nil {
		setDefault(&s.Provider.Local.MachineCIDR, "10.90.0.0/24")
	}
	setDefault(&s.Network.PodCIDR, "10.244.0.0/16")
	setDefault(&s.Network.ServiceCIDR, "10.96.0.0/16")
	setDefault(&s.Network.ClusterDomain, "cluster.local")
	for i := range s.Network.Policy.Rules {
		for j := range s.Network.Policy.Rules[i].Ports {
			setDefault(&s.Network.Policy.Rules[i].Ports[j].Protocol, ProtocolTCP)
		}
	}
	setDefault(&s.PKI.LeafTTL.Duration, 24*time.Hour)
	setDefault(&s.PKI.CATTL.Duration, 10*365*24*time.Hour)
	setDefault(&s.PKI.InitTokenTTL.Duration, 10*time.Minute)
	setDefault(&s.PKI.AdminTTL.Duration, 8*time.Hour)
	if p := s.Authentication.IdentityProvider; p != nil {
		setDefault(&p.UserClaim, "preferred_username")
	}
	setDefault(&s.Authorization.Mode, ModeRBAC)
	if s.Authorization.ServiceAccounts == nil { // an empty list is declared: no class at all
		s.Authorization.ServiceAccounts = SeedClasses()
	}
	for i := range s.Authorization.ServiceAccounts {
		c := &s.Authorization.ServiceAccounts[i]
		if c.ABAC == Everything {
			setDefault(&c.RBAC, Nothing)
		}
		setDefault(&c.RBAC, c.ABAC)
	}
	for i := range s.Exposure.Services {
		setDefault(&s.Exposure.Services[i].TargetPort, s.Exposure.Services[i].Port)
	}

	needed := []Role{RoleVault, RoleEtcd, RoleLB}
	switch {
	case s.Provider.onAWS():
		needed = []Role{RoleVault, RoleEtcd, RoleBastion}
	case len(s.Exposure.Services) > 0:
		needed = append(needed, RolePublicLB)
	}
	var missing []Pool
	for _, role := range needed {
		if !slices.ContainsFunc(s.Pools, func(p Pool) bool { return p.Role == role }) {
			missing = append(missing, Pool{Name: string(role), Role: role, Count: 1})
		}
	}
	// In front, as they come up first. Decode relies on this to name the pools of the file by their place in it.
	s.Pools = append(missing, s.Pools...)
	if s.Provider.onAWS() {
		defaultAWS(s)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
