package claim

var authzClaims = []Claim{
	{
		ID: "authz-default",
		Says: "Kubernetes, by default, authorizes this client for all operations in all namespaces. " +
			"Obvisouly this comes with large risks",
		Holds: "no group that every pod or every visitor belongs to may do anything beyond discovery and self-review",
		Probe: probeAuthzDefault,
	},
	{
		ID:    "authz-node",
		Says:  "Short-lived X.509 certificates and instance tokens … bound to the instance's role",
		Holds: "a node can read and write only what belongs to it",
		Probe: probeAuthzNode,
	},
}
