package webhook

import (
	"slices"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/unit"
)

type access = unit.Access

// state is what is kept between requests.
type state struct {
	access     fileOf[access]
	breakGlass fileOf[[]BreakGlass]
	revoked    fileOf[[]unit.Revocation]

	mu sync.Mutex
	// policies are of the model, by the namespaces of who asks.
	model    authz.Model
	policies map[string]*authz.Policy
}

func (s *state) tokens() ([]Token, error) {
	a, err := s.access.get()
	if err != nil {
		return nil, err
	}
	glass, err := s.breakGlass.get()
	return Tokens(a.StaticTokens, glass), err
}

// authorize says what ABAC says of a ServiceAccount's request. last: what it does not allow is refused, and nobody else
// is asked.
func (s *state) authorize(a access, q authorizationv1.SubjectAccessReviewSpec, last bool) (authorizationv1.SubjectAccessReviewStatus, error) {
	namespaces := homes(q.Groups)
	if len(namespaces) == 0 {
		return authorizationv1.SubjectAccessReviewStatus{Reason: "not a ServiceAccount"}, nil
	}
	p, err := s.policy(a.ServiceAccounts, namespaces)
	if err != nil {
		return authorizationv1.SubjectAccessReviewStatus{}, err
	}
	allowed, why := authz.Allowed(p, request(q))
	return authorizationv1.SubjectAccessReviewStatus{Allowed: allowed, Denied: !allowed && last, Reason: authz.ReasonABAC + why}, nil
}

// homes are the namespaces whose ServiceAccounts somebody is of: one.
func homes(groups []string) []string {
	var out []string
	for _, g := range groups {
		if namespace, ok := strings.CutPrefix(g, authz.ServiceAccountGroup("")); ok && namespace != "" {
			out = append(out, namespace)
		}
	}
	slices.Sort(out)
	return out
}

// policy is the model's ABAC file for a cluster with just these namespaces: lines for others are not about who asks.
// So a new namespace has its line with its first request.
func (s *state) policy(m authz.Model, namespaces []string) (*authz.Policy, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 10_000 // namespaces come and go
	if !slices.Equal(s.model, m) || len(s.policies) > most {
		s.model, s.policies = m, map[string]*authz.Policy{}
	}
	key := strings.Join(namespaces, " ")
	if p := s.policies[key]; p != nil {
		return p, nil
	}
	accounts := authz.Accounts{}
	for _, ns := range namespaces {
		accounts[ns] = nil
	}
	text, err := m.ABAC(accounts)
	if err != nil {
		return nil, err
	}
	p, err := authz.ReadABAC(text, "")
	if err == nil {
		s.policies[key] = p
	}
	return p, err
}

func request(q authorizationv1.SubjectAccessReviewSpec) authz.Request {
	out := authz.Request{User: q.User, Groups: q.Groups}
	if r := q.ResourceAttributes; r != nil {
		out.ResourceRequest = true
		out.Verb, out.APIGroup, out.Resource, out.Subresource, out.Namespace, out.Name = r.Verb, r.Group, r.Resource, r.Subresource, r.Namespace, r.Name
	}
	if r := q.NonResourceAttributes; r != nil {
		out.Verb, out.Path = r.Verb, r.Path
	}
	return out
}
