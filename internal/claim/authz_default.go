package claim

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
)

// everybody is a user that others are not told apart from.
type everybody struct {
	name, user string
	groups     []string
}

// pathsForAll are what Kubernetes' own roles system:discovery, system:public-info-viewer, system:basic-user and
// system:service-account-issuer-discovery give: what there is, and who I am. Nothing else is.
var pathsForAll = []string{"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/readyz", "/openapi", "/openapi/*", "/version", "/version/",
	"/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"}

var reviewsForAll = []string{
	"create selfsubjectaccessreviews.authorization.k8s.io",
	"create selfsubjectrulesreviews.authorization.k8s.io",
	"create selfsubjectreviews.authentication.k8s.io",
	// system:cluster-trust-bundle-discovery: public certificates, for every ServiceAccount.
	"get clustertrustbundles.certificates.k8s.io",
	"list clustertrustbundles.certificates.k8s.io",
	"watch clustertrustbundles.certificates.k8s.io",
}

// probeAuthzDefault asks twice, for neither way sees all: the server lists what somebody may do, also of resources
// that do not exist yet; and it decides on every verb of every discovered resource, also by authorizers that cannot list.
func probeAuthzDefault(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	list, err := admin.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var namespaces []string
	for _, n := range list.Items {
		namespaces = append(namespaces, n.Name)
	}
	rules, err := listedRules(ctx, t, namespaces)
	if err != nil {
		return nil, err
	}
	decided, err := decidedRules(ctx, t, admin, namespaces)
	return append(rules, decided...), err
}

func subjects(namespaces []string) []everybody {
	out := []everybody{
		{"any visitor with a name", "ashlar:nobody", []string{"system:authenticated"}},
		{"anonymous", "system:anonymous", []string{"system:unauthenticated"}},
	}
	for _, ns := range namespaces {
		out = append(out, everybody{"the default ServiceAccount of " + ns, "system:serviceaccount:" + ns + ":default",
			[]string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}})
	}
	return out
}

// listedRules impersonates each subject in each namespace and has the server list what it may.
func listedRules(ctx context.Context, t *Target, namespaces []string) ([]Evidence, error) {
	who := subjects(namespaces)
	evidence := make([]Evidence, len(who))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, s := range who {
		g.Go(func() error {
			config := rest.CopyConfig(t.Admin)
			config.Impersonate = rest.ImpersonationConfig{UserName: s.user, Groups: s.groups}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			e := Evidence{Attempt: "find a rule beyond discovery and self-review, in every namespace", From: "operator", As: s.name,
				Want: Refused, Got: Refused, Answer: fmt.Sprintf("none in %d namespaces", len(namespaces))}
			mode := t.Spec.Spec.Authorization.Mode
			for _, ns := range namespaces {
				if mode != v1alpha1.ModeRBAC && slices.Contains(s.groups, "system:serviceaccounts") {
					e.Answer = "ABAC cannot list what it allows: each verb on each resource is asked for below"
					break
				}
				r, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
					Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns}}, metav1.CreateOptions{})
				if s.user == "system:anonymous" && err != nil && strings.Contains(err.Error(), "is forbidden") {
					e.Answer = "it may not even ask"
					continue
				}
				if err != nil {
					return fmt.Errorf("list what %s may do in %s: %w", s.name, ns, err)
				}
				if r.Status.EvaluationError == webhookLists {
					r.Status.Incomplete = false // it refuses what was revoked, or is asked about ServiceAccounts alone
				}
				if beyond := beyondDiscovery(r.Status); len(beyond) > 0 {
					e.Got, e.Answer = Allowed, fmt.Sprintf("in %s: %s", ns, strings.Join(beyond, "; "))
					break
				}
			}
			evidence[i] = e
			return nil
		})
	}
	return evidence, g.Wait()
}

// webhookLists is what an API server says of an authorizer that decides but cannot list.
const webhookLists = "webhook authorizer does not support user rule resolution"

// beyondDiscovery names the rules that go beyond what everybody may.
func beyondDiscovery(s authorizationv1.SubjectRulesReviewStatus) []string {
	var out []string
	for _, r := range s.ResourceRules {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					rule := verb + " " + strings.TrimSuffix(resource+"."+group, ".")
					if !slices.Contains(reviewsForAll, rule) {
						out = append(out, rule)
					}
				}
			}
		}
	}
	for _, r := range s.NonResourceRules {
		for _, path := range r.NonResourceURLs {
			if !slices.Contains(pathsForAll, path) || !slices.Equal(r.Verbs, []string{"get"}) {
				out = append(out, strings.Join(r.Verbs, ",")+" "+path)
			}
		}
	}
	if s.Incomplete {
		out = append(out, "the list is incomplete: "+s.EvaluationError)
	}
	return out
}

// decidedRules has the server decide on every verb of every resource. One user in the groups of all default
// ServiceAccounts at once stands for each of them, so that what any may, it may. In ABAC and Shadow mode that is what is
// declared for all ServiceAccounts of a namespace.
func decidedRules(ctx context.Context, t *Target, admin kubernetes.Interface, namespaces []string) ([]Evidence, error) {
	d, err := discovery.NewDiscoveryClientForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	_, lists, err := d.ServerGroupsAndResources()
	if err != nil {
		return nil, fmt.Errorf("discover the API: %w", err)
	}
	groups := []string{"system:serviceaccounts", "system:authenticated", "system:unauthenticated"}
	for _, ns := range namespaces {
		groups = append(groups, "system:serviceaccounts:"+ns)
	}
	const who = "one in the groups of every ServiceAccount and every visitor"
	accounts := authz.Accounts{}
	for _, ns := range namespaces {
		accounts[ns] = nil // RBAC gives nothing to all of a namespace; ABAC does
	}
	p, err := declared(t.Spec.Spec.Authorization, accounts)
	if err != nil {
		return nil, err
	}
	attributes := everyAccess(lists)
	evidence := make([]Evidence, len(attributes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, a := range attributes {
		g.Go(func() error {
			r, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "ashlar:nobody", Groups: groups, ResourceAttributes: &a}}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("ask whether %s may %s %s: %w", who, a.Verb, a.Resource, err)
			}
			rule := a.Verb + " " + strings.TrimSuffix(a.Resource+"."+a.Group, ".")
			e := Evidence{Attempt: rule, From: "operator", As: who, Want: Refused, Got: Refused, Answer: "no rule allows it"}
			if a.Subresource != "" {
				e.Attempt += " (" + a.Subresource + ")"
			}
			ok, _ := authz.Allowed(p, authz.Request{User: "ashlar:nobody", Groups: groups, ResourceRequest: true, Verb: a.Verb,
				APIGroup: a.Group, Resource: a.Resource, Subresource: a.Subresource})
			if ok {
				e.Want = Allowed
			}
			if r.Status.Allowed {
				e.Got, e.Answer = Allowed, r.Status.Reason
			}
			evidence[i] = e
			return nil
		})
	}
	return evidence, g.Wait()
}

// everyAccess is every verb on every resource that was discovered, in the whole cluster, and those verbs that
// discovery does not list.
func everyAccess(lists []*metav1.APIResourceList) []authorizationv1.ResourceAttributes {
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	seen := map[authorizationv1.ResourceAttributes]bool{}
	var out []authorizationv1.ResourceAttributes
	add := func(a authorizationv1.ResourceAttributes) {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, l := range lists {
		group, version, found := strings.Cut(l.GroupVersion, "/")
		if !found {
			group, version = "", group
		}
		for _, r := range l.APIResources {
			resource, sub, _ := strings.Cut(r.Name, "/")
			for _, verb := range verbs {
				add(authorizationv1.ResourceAttributes{Group: group, Version: version, Resource: resource, Subresource: sub, Verb: verb})
			}
		}
	}
	for _, special := range []authorizationv1.ResourceAttributes{
		{Verb: "impersonate", Resource: "users"}, {Verb: "impersonate", Resource: "groups"}, {Verb: "impersonate", Resource: "serviceaccounts"},
		{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, {Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "*", Group: "*", Resource: "*"},
	} {
		add(special)
	}
	return out
}
