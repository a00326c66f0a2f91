package baseline

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// kind says where objects live in the API. Asking the server would cost round trips for what never changes.
type kind struct {
	resource   schema.GroupVersionResource
	namespaced bool
	// keep: never deleted, even if the baseline no longer names it.
	keep bool
}

var (
	core  = schema.GroupVersion{Version: "v1"}
	rbac  = schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	apps  = schema.GroupVersion{Group: "apps", Version: "v1"}
	admit = schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	netw  = schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"}
	sched = schema.GroupVersion{Group: "scheduling.k8s.io", Version: "v1"}
	pdb   = schema.GroupVersion{Group: "policy", Version: "v1"}
)

// kinds are all that the baseline is made of.
var kinds = map[schema.GroupVersionKind]kind{
	core.WithKind("Namespace"):                         {resource: core.WithResource("namespaces"), keep: true},
	core.WithKind("ServiceAccount"):                    {resource: core.WithResource("serviceaccounts"), namespaced: true},
	core.WithKind("ConfigMap"):                         {resource: core.WithResource("configmaps"), namespaced: true},
	core.WithKind("Service"):                           {resource: core.WithResource("services"), namespaced: true},
	core.WithKind("LimitRange"):                        {resource: core.WithResource("limitranges"), namespaced: true},
	rbac.WithKind("ClusterRole"):                       {resource: rbac.WithResource("clusterroles")},
	rbac.WithKind("ClusterRoleBinding"):                {resource: rbac.WithResource("clusterrolebindings")},
	rbac.WithKind("Role"):                              {resource: rbac.WithResource("roles"), namespaced: true},
	rbac.WithKind("RoleBinding"):                       {resource: rbac.WithResource("rolebindings"), namespaced: true},
	apps.WithKind("Deployment"):                        {resource: apps.WithResource("deployments"), namespaced: true},
	netw.WithKind("NetworkPolicy"):                     {resource: netw.WithResource("networkpolicies"), namespaced: true},
	pdb.WithKind("PodDisruptionBudget"):                {resource: pdb.WithResource("poddisruptionbudgets"), namespaced: true},
	sched.WithKind("PriorityClass"):                    {resource: sched.WithResource("priorityclasses")},
	admit.WithKind("MutatingAdmissionPolicy"):          {resource: admit.WithResource("mutatingadmissionpolicies")},
	admit.WithKind("MutatingAdmissionPolicyBinding"):   {resource: admit.WithResource("mutatingadmissionpolicybindings")},
	admit.WithKind("ValidatingAdmissionPolicy"):        {resource: admit.WithResource("validatingadmissionpolicies")},
	admit.WithKind("ValidatingAdmissionPolicyBinding"): {resource: admit.WithResource("validatingadmissionpolicybindings")},
}

// id tells objects apart, and is how people see them: "NetworkPolicy default/default-deny".
func id(o *unstructured.Unstructured) string {
	if ns := o.GetNamespace(); ns != "" {
		return o.GetKind() + " " + ns + "/" + o.GetName()
	}
	return o.GetKind() + " " + o.GetName()
}

// at is the client for an object's kind and namespace.
func at(client dynamic.Interface, o *unstructured.Unstructured) dynamic.ResourceInterface {
	k := kinds[o.GroupVersionKind()]
	if k.namespaced {
		return client.Resource(k.resource).Namespace(o.GetNamespace())
	}
	return client.Resource(k.resource)
}
