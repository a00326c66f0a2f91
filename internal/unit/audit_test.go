package unit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// auditPolicy is what Ashlar uses of the API server's audit.k8s.io/v1 Policy.
type auditPolicy struct {
	Rules []auditRule
}

type auditRule struct {
	Level                                     string
	Users, UserGroups, Verbs, NonResourceURLs []string
	Resources                                 []struct {
		Group     string
		Resources []string
	}
}

// apiRequest is a request of a resource; of, say, "pods/exec" for a part of one.
type apiRequest struct {
	user, group, verb, apiGroup, resource string
}

func (r apiRequest) String() string {
	return fmt.Sprintf("%s %s by %s", r.verb, r.resource, r.user)
}

// level is that of the first rule that matches, as the API server has it.
func (p auditPolicy) level(r apiRequest) string {
	for _, rule := range p.Rules {
		if rule.matches(r) {
			return rule.Level
		}
	}
	return "None"
}

func (a auditRule) matches(r apiRequest) bool {
	oneOf := func(list []string, x string) bool { return len(list) == 0 || slices.Contains(list, x) }
	if !oneOf(a.Users, r.user) || !oneOf(a.UserGroups, r.group) || !oneOf(a.Verbs, r.verb) {
		return false
	}
	if len(a.Resources) == 0 {
		return len(a.NonResourceURLs) == 0
	}
	whole, part, isPart := strings.Cut(r.resource, "/")
	for _, g := range a.Resources {
		if g.Group == r.apiGroup && (len(g.Resources) == 0 || slices.Contains(g.Resources, "*") || slices.Contains(g.Resources, r.resource) ||
			isPart && (slices.Contains(g.Resources, whole+"/*") || slices.Contains(g.Resources, "*/"+part))) {
			return true
		}
	}
	return false
}

// auditsWhatMatters holds when no request for what CIS 3.2.2 lists goes unrecorded, whoever makes it, and none that
// carries a secret is recorded with its body.
func auditsWhatMatters(u unit.Unit) error {
	var p auditPolicy
	if err := decode(file(u, "/etc/kubernetes/audit-policy.yaml"), &p); err != nil {
		return err
	}
	subjects := []apiRequest{
		{user: "alice", group: "system:authenticated"},
		{user: "system:node:worker-0", group: "system:nodes"},
		{user: "system:serviceaccount:kube-system:default", group: "system:serviceaccounts:kube-system"},
		{user: "system:kube-controller-manager", group: "system:authenticated"},
	}
	var errs []error
	for _, matters := range []struct {
		apiGroup, resource string
		verbs              []string
		secret             bool
	}{
		{"", "secrets", []string{"get", "list", "watch", "create", "update", "patch", "delete"}, true},
		{"", "configmaps", []string{"get", "list", "watch", "create", "update", "patch", "delete"}, true},
		{"", "serviceaccounts/token", []string{"create"}, true},
		{"authentication.k8s.io", "tokenreviews", []string{"create"}, true},
		{"", "pods", []string{"create", "update", "patch", "delete"}, false},
		{"apps", "deployments", []string{"create", "update", "patch", "delete"}, false},
		{"", "pods/exec", []string{"get", "create"}, false}, // get: over a WebSocket
		{"", "pods/attach", []string{"get", "create"}, false},
		{"", "pods/portforward", []string{"get", "create"}, false},
		{"", "pods/proxy", []string{"get", "create"}, false},
		{"", "services/proxy", []string{"get", "create"}, false},
		{"", "nodes/proxy", []string{"get", "create"}, false},
		{"rbac.authorization.k8s.io", "clusterrolebindings", []string{"create", "update", "patch", "delete"}, false},
	} {
		verb := func(r apiRequest) error {
			for _, r.verb = range matters.verbs {
				r.apiGroup, r.resource = matters.apiGroup, matters.resource
				switch level := p.level(r); {
				case level == "None":
					return fmt.Errorf("no trace of %s", r)
				case matters.secret && level != "Metadata":
					return fmt.Errorf("%s is recorded with its body (%s)", r, level)
				}
			}
			return nil
		}
		for _, r := range subjects {
			errs = append(errs, verb(r)) // the first of a kind will do
		}
	}
	return errors.Join(errs...)
}
