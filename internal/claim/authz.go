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
		ID:    "authz-kube-system",
		Says:  "The Toolkit allows any API access for Service accounts in the namespace `kube-system`",
		Holds: "the ServiceAccounts of kube-system may do what is declared for them in this mode, and nothing else",
		Probe: probeClass("kube-system"),
	},
	{
		ID:    "authz-monitoring",
		Says:  "and read-only access for services in `monitoring`",
		Holds: "the ServiceAccounts of monitoring may do what is declared for them in this mode, and nothing else",
		Probe: probeClass("monitoring"),
	},
	{
		ID:    "authz-namespace",
		Says:  "The other namespaces are limit to read-only operations to their namespace only",
		Holds: "the ServiceAccounts of any other namespace may do what is declared for them in this mode, and nothing else",
		Probe: probeClass(""),
	},
	{
		ID:    "authz-rbac",
		Says:  "it needs a proper locked down definition of API access",
		Holds: "every component runs under a role that lists what it needs, and may do no more; none as cluster-admin",
		Probe: probeRBAC,
	},
	{
		ID:    "authz-node",
		Says:  "Short-lived X.509 certificates and instance tokens … bound to the instance's role",
		Holds: "a node can read and write only what belongs to it",
		Probe: probeAuthzNode,
	},
}
