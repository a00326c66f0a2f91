package claim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// component is one of those that run the cluster.
type component struct {
	name string
	authz.Subject
	// logged: the audit log has all that it asks for.
	logged bool
}

// components are all that have a role of their own, Kubernetes' and Ashlar's.
func components(t *Target) []component {
	member := func(user string, groups ...string) authz.Subject {
		return authz.Subject{User: user, Groups: append(groups, "system:authenticated")}
	}
	control, node := t.Desired.WithRole(v1alpha1.RoleControlPlane)[0].Name, t.Desired.WithRole(v1alpha1.RoleWorker)[0].Name
	out := []component{
		{"calico-cni", member("ashlar:calico-cni:"+node, unit.GroupCalicoCNI), true},
		{"calico-kube-controllers", member("ashlar:calico-kube-controllers:"+control, unit.GroupCalico), true},
		{"baseline-controller", member("ashlar:baseline-controller:"+control, unit.GroupBaseline), true},
		{"coredns", accountSubject("kube-system", "coredns"), true},
		{"kube-apiserver, at kubelets", member("ashlar:kube-apiserver:"+control, unit.GroupAPIServers), false},
		{"kube-controller-manager", member("system:kube-controller-manager"), false},
		{"kube-scheduler", member("system:kube-scheduler"), false},
		{"kube-proxy", member("system:kube-proxy"), false},
	}
	for _, b := range authz.Bootstrap().ClusterRoleBindings {
		for _, s := range b.Subjects {
			if s.Kind == rbacv1.ServiceAccountKind {
				out = append(out, component{s.Name, accountSubject(s.Namespace, s.Name), false})
			}
		}
	}
	return out
}

func accountSubject(namespace, name string) authz.Subject {
	return authz.Subject{User: authz.ServiceAccountUser(namespace, name),
		Groups: []string{"system:serviceaccounts", authz.ServiceAccountGroup(namespace), "system:authenticated"}}
}

// probeRBAC compares what each component may do with what its role says, has the API confirm each difference, and looks
// in the audit log for what the components really asked for.
func probeRBAC(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	objects, err := LiveRBAC(ctx, t.Admin)
	if err != nil {
		return nil, err
	}
	live, err := objects.Policy()
	if err != nil {
		return nil, err
	}
	want, err := declaredRBAC(ctx, t)
	if err != nil {
		return nil, err
	}
	var out []Evidence
	for _, c := range components(t) {
		found, err := compareRole(ctx, admin, c, want, live)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	observed, err := observedRequests(ctx, t, live)
	return append(out, observed...), err
}

// LiveRBAC reads the cluster's RBAC objects.
func LiveRBAC(ctx context.Context, config *rest.Config) (*authz.RBAC, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	all, rbac := metav1.ListOptions{}, client.RbacV1()
	clusterRoles, err1 := rbac.ClusterRoles().List(ctx, all)
	roles, err2 := rbac.Roles("").List(ctx, all)
	clusterBindings, err3 := rbac.ClusterRoleBindings().List(ctx, all)
	bindings, err4 := rbac.RoleBindings("").List(ctx, all)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("read the cluster's RBAC objects: %w", err)
	}
	return &authz.RBAC{Roles: roles.Items, ClusterRoles: clusterRoles.Items, RoleBindings: bindings.Items, ClusterRoleBindings: clusterBindings.Items}, nil
}

// LiveAccounts reads which ServiceAccounts there are.
func LiveAccounts(ctx context.Context, config *rest.Config) (authz.Accounts, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().ServiceAccounts("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list ServiceAccounts: %w", err)
	}
	out := authz.Accounts{}
	for _, a := range list.Items {
		out[a.Namespace] = append(out[a.Namespace], a.Name)
	}
	return out, nil
}

// declaredRBAC is what an API server makes by itself, what the baseline has, and what classes of ServiceAccounts get.
func declaredRBAC(ctx context.Context, t *Target) (*authz.Policy, error) {
	ours, err := rbacOf(t.Baseline)
	if err != nil {
		return nil, err
	}
	accounts, err := LiveAccounts(ctx, t.Admin)
	if err != nil {
		return nil, err
	}
	classes := authz.Model(t.Spec.Spec.Authorization.ServiceAccounts).Bindings(accounts)
	p, err := authz.Union(authz.Bootstrap(), ours, classes).Policy()
	if err != nil {
		return nil, err
	}
	return p, nil
}

// rbacOf picks the RBAC objects.
func rbacOf(objects []*unstructured.Unstructured) (*authz.RBAC, error) {
	out := new(authz.RBAC)
	for _, o := range objects {
		var err error
		switch o.GetKind() {
		case "ClusterRole":
			err = add(o, &out.ClusterRoles)
		case "ClusterRoleBinding":
			err = add(o, &out.ClusterRoleBindings)
		case "Role":
			err = add(o, &out.Roles)
		case "RoleBinding":
			err = add(o, &out.RoleBindings)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s %s of the baseline: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return out, nil
}

func add[T any](o *unstructured.Unstructured, to *[]T) error {
	var typed T
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed)
	*to = append(*to, typed)
	return err
}

// compareRole says what a component may do beyond its role, and what of it it may not.
func compareRole(ctx context.Context, admin kubernetes.Interface, c component, want, live *authz.Policy) ([]Evidence, error) {
	diff := authz.CompareFor(want, live, c.Subject)
	more := Evidence{Attempt: "find what it may do that its role does not list", From: "operator", As: c.name, Want: Refused, Got: Refused, Answer: "nothing"}
	for _, d := range diff.Widened {
		ok, why, err := confirm(ctx, admin, d.Witness)
		if err != nil {
			return nil, err
		}
		if ok {
			more.Got, more.Answer = Allowed, d.Witness.String()+": "+why
			break
		}
	}
	less := Evidence{Attempt: "do all that its role lists", From: "operator", As: c.name, Want: Allowed, Got: Allowed, Answer: "nothing is missing"}
	if len(diff.Narrowed) > 0 {
		less.Got, less.Answer = Refused, "not "+diff.Narrowed[0].Witness.String()
	}
	all := Evidence{Attempt: "hold everything, as cluster-admin does", From: "operator", As: c.name, Want: Refused, Got: Refused, Answer: "it does not"}
	for _, d := range authz.Can(live, c.Subject) {
		if d.Everything() {
			all.Got, all.Answer = Allowed, d.String()
		}
	}
	return []Evidence{more, less, all}, nil
}

// confirm has the API server decide.
func confirm(ctx context.Context, admin kubernetes.Interface, q authz.Request) (bool, string, error) {
	r, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: Review(q)}, metav1.CreateOptions{})
	if err != nil {
		return false, "", fmt.Errorf("ask about %s: %w", q, err)
	}
	return r.Status.Allowed, r.Status.Reason, nil
}

// Review is a request as the API is asked about it.
func Review(q authz.Request) authorizationv1.SubjectAccessReviewSpec {
	s := authorizationv1.SubjectAccessReviewSpec{User: q.User, Groups: q.Groups}
	if q.ResourceRequest {
		s.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: q.Verb, Group: q.APIGroup, Resource: q.Resource,
			Subresource: q.Subresource, Namespace: q.Namespace, Name: q.Name}
	} else {
		s.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: q.Verb, Path: q.Path}
	}
	return s
}

// asked is what a component asked for, wherever and however often.
type asked struct{ verb, what string }

func askedOf(q authz.Request) asked {
	if !q.ResourceRequest {
		return asked{q.Verb, q.Path}
	}
	what := strings.TrimSuffix(q.Resource+"."+q.APIGroup, ".")
	if q.Subresource != "" {
		what += "/" + q.Subresource
	}
	return asked{q.Verb, what}
}

// requested are the last answers that a component got.
type requested map[asked]authz.Observed

// answered says that a component which was refused a list, or a watch, has had the other of the same things since: clients
// turn from one to the other (k8s.io/client-go, WatchList), and may never ask again for what they were refused.
func (r requested) answered(k asked, refused time.Time) bool {
	other := map[string]string{"list": "watch", "watch": "list"}[k.verb]
	o, ok := r[asked{other, k.what}]
	return other != "" && ok && o.Allowed && o.Time.After(refused)
}

// observedRequests are what the components of which the audit log has everything asked for: each must have been let
// through by its role. What a role lists and nobody has asked for yet is said, and breaks nothing: it may be for tomorrow.
func observedRequests(ctx context.Context, t *Target, live *authz.Policy) ([]Evidence, error) {
	var logged []component
	var about []string
	for _, c := range components(t) {
		if c.logged {
			logged = append(logged, c)
			about = append(about, `"`+c.who()+`"`)
		}
	}
	last := map[string]requested{}
	err := Audit(ctx, t.Provider, t.Machines, about, func(o authz.Observed) {
		i := slices.IndexFunc(logged, func(c component) bool { return c.who() == o.User || slices.Contains(o.Groups, c.who()) })
		if i < 0 {
			return
		}
		seen := last[logged[i].name]
		if seen == nil {
			seen = requested{}
			last[logged[i].name] = seen
		}
		// The last answer counts: when a cluster comes up, roles are a moment behind those who need them.
		if k := askedOf(o.Request); !o.Time.Before(seen[k].Time) {
			seen[k] = o
		}
	})
	if err != nil {
		return nil, err
	}
	var out []Evidence
	for _, c := range logged {
		seen := last[c.name]
		for _, k := range slices.SortedFunc(maps.Keys(seen), func(a, b asked) int { return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(a.verb, b.verb)) }) {
			o := seen[k]
			e := Evidence{Attempt: "has asked to " + k.verb + " " + k.what, From: "the audit log", As: c.name, Want: Allowed, Got: Refused, Answer: o.Reason}
			if !o.Allowed && seen.answered(k, o.Time) {
				continue
			}
			if ok, why := authz.Allowed(live, o.Request); ok && o.Allowed {
				e.Got, e.Answer = Allowed, why+", last "+o.Time.UTC().Format(time.RFC3339)
			}
			out = append(out, e)
		}
		out = append(out, unused(c, live, seen)...)
	}
	return out, nil
}

// who is what tells a component in the log: the group of its certificates, or its user name.
func (c component) who() string {
	if g := c.Groups[0]; strings.HasPrefix(g, "ashlar:") {
		return g
	}
	return c.User
}

// unused names what a role lists and the log does not have.
func unused(c component, live *authz.Policy, seen requested) []Evidence {
	var out []Evidence
	for i := range live.Grants {
		g := &live.Grants[i]
		if !g.Holds(c.User, c.Groups) || strings.HasPrefix(g.Group, "system:") {
			continue
		}
		for _, group := range g.Rule.APIGroups {
			for _, resource := range g.Rule.Resources {
				name, sub, _ := strings.Cut(resource, "/")
				for _, verb := range g.Rule.Verbs {
					q := authz.Request{Verb: verb, ResourceRequest: true, APIGroup: group, Resource: name, Subresource: sub}
					if _, used := seen[askedOf(q)]; !used && verb != "bind" && name != "leases" { // no request has that verb; leases are not logged
						out = append(out, Evidence{Attempt: "may " + verb + " " + askedOf(q).what, From: "the audit log", As: c.name, Want: Allowed, Got: Allowed,
							Answer: "its role lists it, and it has not asked for it since the log begins"})
					}
				}
			}
		}
	}
	return out
}

// Audit reads the audit logs of all API servers: those lines that have one of some texts in them.
func Audit(ctx context.Context, p provider.Provider, machines []provider.Machine, about []string, each func(authz.Observed)) error {
	for _, m := range machines {
		if m.Role != v1alpha1.RoleControlPlane || m.State != provider.Running {
			continue
		}
		if err := apiAudit(ctx, p, m.Name, about, each); err != nil {
			return fmt.Errorf("read the audit log of %s: %w", m.Name, err)
		}
	}
	return nil
}

func apiAudit(ctx context.Context, p provider.Provider, machine string, about []string, each func(authz.Observed)) error {
	// grep goes through hundreds of megabytes where they are. It exits with 1 when it finds nothing.
	args := []string{"bash", "-c", `grep -hF "$@" /var/log/kubernetes/audit*.log || test $? = 1`, "bash"}
	for _, a := range about {
		args = append(args, "-e", a)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := p.Exec(ctx, machine, provider.Exec{Args: args, Stdout: in})
		in.CloseWithError(err)
		done <- err
	}()
	var bad error
	for o, err := range authz.ReadAudit(out, "audit.log", about...) {
		if err != nil {
			bad = cmp.Or(bad, err)
			continue
		}
		if strings.HasPrefix(o.Reason, unit.RevokedReason) {
			continue // not for what it asked
		}
		each(o)
	}
	_ = out.Close() // grep, if it still writes, need not
	if err := <-done; err != nil && ctx.Err() == nil {
		return err
	}
	return bad
}
