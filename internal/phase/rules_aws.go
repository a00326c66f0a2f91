package phase

import (
	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// puppetPort is where Foreman's Puppet server listens.
const puppetPort = 8140

// awsRules are what machines need only where AWS says who they are. What all machines of a VPC may reach whatever the rules are, its
// resolver, clock and metadata, is none of them; nor is the way to their software in S3, which the modules open for each role.
func awsRules(spec *v1alpha1.Cluster) []provider.Rule {
	a := spec.Spec.Provider.AWS
	if a == nil {
		return nil
	}
	rules := []provider.Rule{{From: v1alpha1.RoleVault, To: provider.Endpoint{Role: provider.Outside, Protocol: "tcp", Port: 443},
		Why: "AWS says who a machine is, and unseals"}}
	if a.Foreman == nil {
		return rules
	}
	puppet := provider.Endpoint{Role: v1alpha1.RoleHub, Protocol: "tcp", Port: puppetPort}
	for _, from := range v1alpha1.Roles {
		if !spec.Spec.Provider.Managed(from) {
			rules = append(rules, provider.Rule{From: from, To: puppet, Why: "the Puppet agent"})
		}
	}
	return rules
}
