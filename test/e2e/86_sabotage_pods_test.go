package e2e

import (
	"testing"

	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/claim"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"net-default", "the default is deleted", undeclared("globalnetworkpolicies/ashlar.default")},
		sabotage{"net-default", "machines are open to what pods allow themselves", undeclared("globalnetworkpolicies/ashlar.machines", "globalnetworkpolicies/ashlar.hosts.machines")},
		sabotage{"net-egress", "a policy of the first order allows all egress", hiddenPolicy},
		sabotage{"net-metadata", "the rules are deleted", undeclared("globalnetworkpolicies/ashlar.metadata", "globalnetworkpolicies/ashlar.hosts.metadata")},
		sabotage{"net-metadata", "the rule of the machines is deleted", undeclared("globalnetworkpolicies/ashlar.hosts.metadata")},
		sabotage{"net-metadata", "a machine is no host endpoint", undeclared("hostendpoints/ashlar.worker-1")},
	)
}

// undeclared removes some of Calico's records; `up` mends it.
func undeclared(keys ...string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		t.Cleanup(func() { ashlar(t, "up") })
		for _, key := range keys {
			overlay(t, target, "del", calico.Resources+key)
		}
	}
}
