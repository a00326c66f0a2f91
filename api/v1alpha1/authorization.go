package v1alpha1

import (
	"fmt"
	"slices"
)

const maxNamespace = 63

func (e *Errors) authorization(a Authorization) {
	if !slices.Contains(AuthorizationModes, a.Mode) {
		e.add("spec.authorization.mode", "must be %s, not %s", oneOf(AuthorizationModes), quote(string(a.Mode)))
	}
	namespaces, others := places{}, ""
	for i, c := range a.ServiceAccounts {
		path := fmt.Sprintf("spec.authorization.serviceAccounts[%d]", i)
		switch {
		case c.Namespace != "":
			e.name(path+".namespace", c.Namespace, maxNamespace)
			e.once(namespaces, path+".namespace", c.Namespace)
		case others != "":
			e.add(path, "must name a namespace: %s is already for all that no class names", others)
		default:
			others = path
		}
		e.class(path, c)
	}
}

// class checks what the ServiceAccounts of one may do.
func (e *Errors) class(path string, c ServiceAccountClass) {
	abac := e.access(path+".abac", c.ABAC, c.Namespace)
	if c.RBAC == c.ABAC {
		return // or what was left out would have the same error again
	}
	rbac := e.access(path+".rbac", c.RBAC, c.Namespace)
	if abac && rbac && slices.Index(Accesses, c.RBAC) > slices.Index(Accesses, c.ABAC) {
		e.add(path+".rbac", "must not be more than abac, which is %s, not %s", c.ABAC, c.RBAC)
	}
}

func (e *Errors) access(path string, a Access, namespace string) bool {
	switch {
	case a == "":
		e.add(path, "is required")
	case !slices.Contains(Accesses, a):
		e.add(path, "must be %s, not %s", oneOf(Accesses), quote(string(a)))
	case namespace == "" && (a == ReadOnly || a == Everything):
		e.add(path, "must be %s or %s where no namespace is named, not %s: every pod there is would have it", Nothing, ReadOwnNamespace, a)
	default:
		return true
	}
	return false
}
