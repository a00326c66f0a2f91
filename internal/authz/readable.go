package authz

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// kinds are resources of an API group.
type kinds struct {
	group     string
	resources []string
}

// readable is what "read-only" means in RBAC inside a namespace. It leaves out Secrets, and every subresource that is an
// action in disguise: a get of pods/exec, attach, portforward or any proxy runs something. What the API serves later
// is not readable until it is added here.
var readable = []kinds{
	{"", []string{"configmaps", "endpoints", "events", "limitranges", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log", "pods/status",
		"podtemplates", "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status",
		"serviceaccounts", "services", "services/status"}},
	{"apps", []string{"controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status",
		"replicasets", "replicasets/scale", "replicasets/status", "statefulsets", "statefulsets/scale", "statefulsets/status"}},
	{"autoscaling", []string{"horizontalpodautoscalers", "horizontalpodautoscalers/status"}},
	{"batch", []string{"cronjobs", "cronjobs/status", "jobs", "jobs/status"}},
	{"coordination.k8s.io", []string{"leases"}},
	{"discovery.k8s.io", []string{"endpointslices"}},
	{"events.k8s.io", []string{"events"}},
	{"metrics.k8s.io", []string{"pods"}},
	{"networking.k8s.io", []string{"ingresses", "ingresses/status", "networkpolicies"}},
	{"policy", []string{"poddisruptionbudgets", "poddisruptionbudgets/status"}},
	{rbacGroup, []string{"rolebindings", "roles"}},
	{"storage.k8s.io", []string{"csistoragecapacities"}},
}

// readableEverywhere is the same of what is in no namespace.
var readableEverywhere = []kinds{
	{"", []string{"componentstatuses", "namespaces", "namespaces/status", "nodes", "nodes/metrics", "nodes/status", "persistentvolumes", "persistentvolumes/status"}},
	{"admissionregistration.k8s.io", []string{"mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations"}},
	{"apiextensions.k8s.io", []string{"customresourcedefinitions", "customresourcedefinitions/status"}},
	{"apiregistration.k8s.io", []string{"apiservices", "apiservices/status"}},
	{"certificates.k8s.io", []string{"certificatesigningrequests", "certificatesigningrequests/status"}},
	{"flowcontrol.apiserver.k8s.io", []string{"flowschemas", "prioritylevelconfigurations"}},
	{"metrics.k8s.io", []string{"nodes"}},
	{"networking.k8s.io", []string{"ingressclasses", "ipaddresses", "servicecidrs"}},
	{"node.k8s.io", []string{"runtimeclasses"}},
	{rbacGroup, []string{"clusterrolebindings", "clusterroles"}},
	{"scheduling.k8s.io", []string{"priorityclasses"}},
	{"storage.k8s.io", []string{"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattachments/status"}},
}

// readablePaths are health, metrics, version and discovery; not /debug, /logs or /configz.
var readablePaths = []string{"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/*",
	"/openapi", "/openapi/*", "/readyz", "/readyz/*", "/version", "/version/"}

// roleNames are the ClusterRoles that a model's bindings refer to.
var roleNames = map[v1alpha1.Access]string{
	v1alpha1.Everything:       "ashlar:everything",
	v1alpha1.ReadOnly:         "ashlar:read-only-everywhere",
	v1alpha1.ReadOwnNamespace: "ashlar:read-only",
}

// Roles are the ClusterRoles that the model's bindings refer to.
func (m Model) Roles() []rbacv1.ClusterRole {
	all := []string{"*"}
	everywhere := append(readRules(readable), readRules(readableEverywhere)...)
	everywhere = append(everywhere, rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: readablePaths})
	role := func(a v1alpha1.Access, rules []rbacv1.PolicyRule) rbacv1.ClusterRole {
		return rbacv1.ClusterRole{TypeMeta: rbacType("ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: roleNames[a]}, Rules: rules}
	}
	roles := []rbacv1.ClusterRole{
		role(v1alpha1.Everything, []rbacv1.PolicyRule{
			{Verbs: all, APIGroups: all, Resources: all},
			{Verbs: all, NonResourceURLs: all},
		}),
		role(v1alpha1.ReadOnly, everywhere),
		role(v1alpha1.ReadOwnNamespace, readRules(readable)),
	}
	return slices.DeleteFunc(roles, func(r rbacv1.ClusterRole) bool {
		return !slices.ContainsFunc(m, func(c v1alpha1.ServiceAccountClass) bool { return roleNames[c.RBAC] == r.Name })
	})
}

func readRules(of []kinds) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, k := range of {
		out = append(out, rbacv1.PolicyRule{Verbs: read, APIGroups: []string{k.group}, Resources: k.resources})
	}
	return out
}
