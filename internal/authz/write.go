package authz

import (
	"bytes"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// YAML is the objects as documents, which ReadRBAC reads.
func (o *RBAC) YAML() ([]byte, error) {
	var out bytes.Buffer
	err := errors.Join(
		writeDocuments(&out, "ClusterRole", o.ClusterRoles),
		writeDocuments(&out, "ClusterRoleBinding", o.ClusterRoleBindings),
		writeDocuments(&out, "Role", o.Roles),
		writeDocuments(&out, "RoleBinding", o.RoleBindings))
	return out.Bytes(), err
}

// writeDocuments fills in the kind, which objects from a cluster's lists do not have.
func writeDocuments[T any, P interface {
	*T
	runtime.Object
}](out *bytes.Buffer, kind string, objects []T) error {
	for _, o := range objects {
		P(&o).GetObjectKind().SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind))
		text, err := yaml.Marshal(&o)
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return nil
}
