package authz

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Gap is what RBAC lacks for one subject in one place: requests that ABAC allowed and no role does.
type Gap struct {
	Subject rbacv1.Subject `json:"subject"`
	// Namespace is empty for what is in none, and for all namespaces at once.
	Namespace string `json:"namespace,omitempty"`
	// Rules are the role that is missing. They allow what was asked and nothing else, but all objects of a kind where more
	// than a few were asked for.
	Rules []rbacv1.PolicyRule `json:"rules"`
	// Dangers are why it should not be granted without a thought, the worst first.
	Dangers []string `json:"dangers,omitempty"`
	// Count is of the log's events, Last the time of the latest.
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	// Example is one of the requests, of the most dangerous kind.
	Example Request `json:"example"`
}

// Gaps returns what RBAC still lacks: the requests that only ABAC allowed when they were made, and that the current
// policy, which is RBAC's, does not allow yet. The most dangerous come first.
func Gaps(observed iter.Seq[Observed], current *Policy) []Gap {
	found := lacking(observed, current)
	wide := map[string][]*Rule{} // what each user lacks in the whole cluster
	for at, uses := range found {
		if at.namespace == "" {
			wide[at.user] = fromRBAC(rulesFor(uses))
		}
	}
	var out []Gap
	for at, uses := range found {
		if at.namespace != "" { // with the one gap filled, this is less
			uses = slices.DeleteFunc(uses, func(u *use) bool {
				return slices.ContainsFunc(wide[at.user], func(r *Rule) bool { return r.Allows(u.Request) })
			})
		}
		if len(uses) > 0 {
			out = append(out, gapOf(at, uses))
		}
	}
	slices.SortFunc(out, func(a, b Gap) int {
		return cmp.Or(
			cmp.Compare(rank(a.Dangers), rank(b.Dangers)),
			cmp.Compare(a.Namespace, b.Namespace), // the whole cluster first
			cmp.Compare(a.Example.User, b.Example.User))
	})
	return out
}

// place is whose gap it is, and where.
type place struct{ user, namespace string }

// use is a request, and how often and when it was made.
type use struct {
	Request
	count int
	last  time.Time
}

// lacking sorts what is missing by place. It holds each request once, however often it was made.
func lacking(observed iter.Seq[Observed], current *Policy) map[place][]*use {
	uses := map[string]*use{}
	for o := range observed {
		if !o.Allowed || !strings.HasPrefix(o.Reason, ReasonABAC) || !o.grantable() {
			continue
		}
		key := strings.Join(append(o.words(), o.Groups...), "\x00")
		u := uses[key]
		if u == nil {
			u = &use{Request: o.Request}
			uses[key] = u
		}
		u.count++
		if o.Time.After(u.last) {
			u.last = o.Time
		}
	}
	out, has := map[place][]*use{}, map[string]*Policy{}
	for _, key := range slices.Sorted(maps.Keys(uses)) {
		u := uses[key]
		who := strings.Join(append([]string{u.User}, u.Groups...), "\x00")
		if has[who] == nil {
			has[who] = current.of(u.Subject())
		}
		if ok, _ := Allowed(has[who], u.Request); !ok {
			at := place{u.User, u.Namespace}
			out[at] = append(out[at], u)
		}
	}
	return out
}

// of is the part of a policy that is about a subject.
func (p *Policy) of(s Subject) *Policy {
	out := new(Policy)
	for _, g := range p.Grants {
		if g.Holds(s.User, s.Groups) {
			out.Grants = append(out.Grants, g)
		}
	}
	return out
}

// words are all that a request says, but for the groups.
func (r *Request) words() []string {
	return []string{r.User, r.Verb, r.APIGroup, r.Resource, r.Subresource, r.Namespace, r.Name, r.Path}
}

// grantable says whether a role can allow a request and mean nothing else by it. Who may get everything may also get
// /api/v1/namespaces/shop/*, which is nothing; a rule for the resource "*" would make it everything again.
func (r *Request) grantable() bool {
	odd := func(c rune) bool { return c == '*' || !unicode.IsPrint(c) }
	what := r.Path
	if r.ResourceRequest {
		what = r.Resource
	}
	return r.User != "" && r.Verb != "" && what != "" &&
		!slices.ContainsFunc(r.words(), func(word string) bool { return strings.ContainsFunc(word, odd) })
}

func gapOf(at place, uses []*use) Gap {
	out := Gap{Subject: rbacSubject(at.user), Namespace: at.namespace, Rules: rulesFor(uses), Example: uses[0].Request}
	worst := rank(nil) + 1
	for _, u := range uses {
		out.Count += u.count
		if u.last.After(out.Last) {
			out.Last = u.last
		}
		dangers := dangersOf(u.box())
		if r := rank(dangers); r < worst {
			worst, out.Example = r, u.Request
		}
		out.Dangers = append(out.Dangers, dangers...)
	}
	slices.SortFunc(out.Dangers, func(a, b string) int { return rank([]string{a}) - rank([]string{b}) })
	out.Dangers = slices.Compact(out.Dangers)
	if out.Subject.Kind == rbacv1.ServiceAccountKind && out.Subject.Name == DefaultAccount {
		out.Dangers = append(out.Dangers, everyPod)
	}
	return out
}

// everyPod that names no ServiceAccount would have what its namespace's default one is given.
const everyPod = "every pod"

// box is the set of just this request.
func (r *Request) box() *Box {
	just := func(v string) Set { return Set{Values: []string{v}} }
	if !r.ResourceRequest {
		return &Box{Verbs: just(r.Verb), Paths: Paths{In: []string{r.Path}}}
	}
	return &Box{Verbs: just(r.Verb), APIGroups: just(r.APIGroup), Resources: just(r.Resource), Subresources: just(r.Subresource),
		Namespaces: just(r.Namespace), Names: just(r.Name)}
}

// rbacSubject is how a binding names a user. A name that only looks like a ServiceAccount's is a user's.
func rbacSubject(user string) rbacv1.Subject {
	if namespace, ok := serviceAccountNamespace(user); ok {
		name := strings.TrimPrefix(user, ServiceAccountUser(namespace, ""))
		if len(validation.IsDNS1123Label(namespace)) == 0 && len(validation.IsDNS1123Subdomain(name)) == 0 {
			return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
		}
	}
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}
}
