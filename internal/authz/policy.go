// Package authz decides who may do what under an ABAC file or RBAC objects, and compares two such policies over all
// requests there can be. It is pure functions over plain data: nothing here asks a cluster. docs/authz.md says how
// comparison works, and why it is complete.
package authz

import (
	"fmt"
	"strings"
)

// Request is what an authorizer of Kubernetes is asked: somebody, a verb, and either an object or a path.
type Request struct {
	User   string   `json:"user"`
	Groups []string `json:"groups,omitempty"`
	Verb   string   `json:"verb"`

	// ResourceRequest says that the request is for an object, or a kind of object; all fields but Path are then its.
	ResourceRequest bool   `json:"resourceRequest"`
	APIGroup        string `json:"apiGroup,omitempty"`
	Resource        string `json:"resource,omitempty"`
	Subresource     string `json:"subresource,omitempty"`
	// Namespace is empty for what is not in one, and for all namespaces at once.
	Namespace string `json:"namespace,omitempty"`
	// Name is empty for requests that name no object, like most lists.
	Name string `json:"name,omitempty"`
	// Path is asked for when ResourceRequest is false.
	Path string `json:"path,omitempty"`
}

// String is a request in one line.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s ", r.Subject(), r.Verb)
	if !r.ResourceRequest {
		b.WriteString(r.Path)
		return b.String()
	}
	b.WriteString(r.Resource)
	if r.APIGroup != "" {
		b.WriteString("." + r.APIGroup)
	}
	if r.Subresource != "" {
		b.WriteString("/" + r.Subresource)
	}
	if r.Name != "" {
		fmt.Fprintf(&b, " %q", r.Name)
	}
	if r.Namespace != "" {
		b.WriteString(" in " + r.Namespace)
	}
	return b.String()
}

// Subject is who asks.
func (r Request) Subject() Subject { return Subject{User: r.User, Groups: r.Groups} }

// Policy is who may do what: the union of its grants. The zero Policy allows nothing.
type Policy struct {
	Grants []Grant
	// Warnings are what is legal but hardly meant: bindings to roles that are not there, lines that match nobody.
	Warnings []string
}

// Grant gives a rule to a principal, in one namespace or everywhere.
type Grant struct {
	Principal
	// Everywhere: in all namespaces, and where there is none. Otherwise in Namespace only.
	Everywhere bool
	Namespace  string
	Rule       *Rule
	// Source names where it is written.
	Source string
}

// Principal is a condition on who asks. With both fields set, as an ABAC line may have them, both must hold; with none
// it holds for nobody.
type Principal struct {
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
}

func (p Principal) String() string {
	switch {
	case p.User != "" && p.Group != "":
		return fmt.Sprintf("user %s in group %s", p.User, p.Group)
	case p.User != "":
		return "user " + p.User
	case p.Group != "":
		return "group " + p.Group
	}
	return "nobody"
}

// Rule is RBAC's PolicyRule, which an ABAC line is turned into. "*" has the meaning that RBAC gives it.
type Rule struct {
	Verbs []string
	// Resources are "pods", "pods/log", "*/scale" or "*".
	APIGroups, Resources []string
	// AnySubresource: a resource stands for its subresources too, as in ABAC, which does not look at them.
	AnySubresource bool
	// ResourceNames limits to objects of these names; empty means any.
	ResourceNames []string
	// Paths are exact, or with a trailing "*" prefixes.
	Paths []string
}
