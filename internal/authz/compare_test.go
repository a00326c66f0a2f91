package authz

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Few words that meet often, as in test/oracle.
var words = struct{ users, groups, verbs, apiGroups, resources, names, namespaces, paths []string }{
	users:      []string{"alice", userAnonymous, "system:serviceaccount:a:x", "system:serviceaccount:b:y"},
	groups:     []string{"dev", groupAuthenticated, groupUnauthenticated, groupServiceAccounts, "system:serviceaccounts:a", "system:serviceaccounts:b"},
	verbs:      []string{"get", "list", "create", "*"},
	apiGroups:  []string{"", "apps", "*"},
	resources:  []string{"pods", "secrets", "pods/log", "*/log", "*", "pods/*", "secrets/exec", "/x", "*/"},
	names:      []string{"x", ""},
	namespaces: []string{"a", "b", ""},
	paths:      []string{"/a", "/a*", "/a/b", "/a/b*", "/ab*", "*", "", "/*"},
}

func draw(t *rapid.T, from []string, least, most int) []string {
	return rapid.SliceOfN(rapid.SampledFrom(from), least, most).Draw(t, "words")
}

func drawPolicy(t *rapid.T) *Policy {
	p := new(Policy)
	for i := range rapid.IntRange(0, 6).Draw(t, "grants") {
		g := Grant{Rule: &Rule{Verbs: draw(t, words.verbs, 1, 2)}, Source: fmt.Sprintf("grant %d", i)}
		if kind := rapid.IntRange(0, 4).Draw(t, "principal"); kind > 0 {
			g.Group = rapid.SampledFrom(words.groups).Draw(t, "group")
			if kind == 1 {
				g.User = rapid.SampledFrom(words.users).Draw(t, "user")
			}
		} else {
			g.User = rapid.SampledFrom(words.users).Draw(t, "user")
		}
		if g.Everywhere = rapid.Bool().Draw(t, "everywhere"); !g.Everywhere {
			g.Namespace = rapid.SampledFrom(words.namespaces).Draw(t, "namespace")
		}
		if rapid.IntRange(0, 3).Draw(t, "of paths") == 0 {
			g.Rule.Paths = draw(t, words.paths, 1, 3)
		} else {
			g.Rule.APIGroups, g.Rule.Resources = draw(t, words.apiGroups, 1, 2), draw(t, words.resources, 1, 3)
			g.Rule.ResourceNames = draw(t, words.names, 0, 1)
			if g.Rule.AnySubresource = rapid.Bool().Draw(t, "like ABAC"); g.Rule.AnySubresource {
				g.Rule.ResourceNames = nil
			}
		}
		p.Grants = append(p.Grants, g)
	}
	return p
}

// everyRequest is one request of every kind that the words can tell apart, and of those that they cannot.
var everyRequest = func() []Request {
	var out []Request
	for _, verb := range []string{"get", "list", "create", "other"} {
		for _, path := range []string{"/", "/a", "/a/b", "/ab", "/abc", "/a/b/c", "/a/c", "/c", "x"} {
			out = append(out, Request{Verb: verb, Path: path})
		}
		for _, group := range []string{"", "apps", "other"} {
			for _, resource := range []string{"pods", "secrets", "other"} {
				for _, sub := range []string{"", "log", "exec", "*", "other"} {
					for _, ns := range []string{"a", "b", "", "other"} {
						for _, name := range []string{"x", "", "other"} {
							out = append(out, Request{ResourceRequest: true, Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Namespace: ns, Name: name})
						}
					}
				}
			}
		}
	}
	return out
}()

// subjects are all that the words can tell apart with one membership, and some with several.
func drawSubject(t *rapid.T) Subject {
	user := rapid.SampledFrom(append([]string{"somebody"}, words.users...)).Draw(t, "user")
	if user == userAnonymous {
		return Subject{userAnonymous, []string{groupUnauthenticated}}
	}
	s, _ := Principal{User: user}.least("anything-else")
	for _, g := range draw(t, words.groups, 0, 3) {
		if g != groupUnauthenticated {
			more, _ := Principal{User: user, Group: g}.least("anything-else")
			s.Groups = append(s.Groups, more.Groups...)
		}
	}
	return s
}

func (d *Difference) of(p Principal, q Request) bool {
	home, _ := p.home()
	return d.Has(q) && (!d.Own || q.Namespace == home)
}

func allowedTo(p *Policy, s Subject, q Request) bool {
	q.User, q.Groups = s.User, s.Groups
	ok, _ := Allowed(p, q)
	return ok
}

// Whatever is said to change for a principal does, and each witness shows it.
func TestDifferencesAreReal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPolicy(t), drawPolicy(t)
		c := Compare(a, b)
		check := func(differences []Difference, inA, inB bool) {
			for i := range differences {
				d := &differences[i]
				if gotA, _ := Allowed(a, d.Witness); gotA != inA {
					t.Fatalf("%v of %v: witness %v: a allows %t", &d.Box, d.Principals, d.Witness, gotA)
				}
				if gotB, _ := Allowed(b, d.Witness); gotB != inB {
					t.Fatalf("%v of %v: witness %v: b allows %t", &d.Box, d.Principals, d.Witness, gotB)
				}
				for _, p := range d.Principals {
					s, _ := p.least("anything-else")
					for _, q := range everyRequest {
						if d.of(p, q) && (allowedTo(a, s, q) != inA || allowedTo(b, s, q) != inB) {
							t.Fatalf("%v of %v: not so for %v by %v", &d.Box, p, q, s)
						}
					}
				}
			}
		}
		check(c.Widened, false, true)
		check(c.Narrowed, true, false)
		check(c.Equal, true, true)
	})
}

// Whatever changes for anybody, with however many groups, is said of one of the principals whose condition he meets.
func TestDifferencesAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, s := drawPolicy(t), drawPolicy(t), drawSubject(t)
		c := Compare(a, b)
		said := func(differences []Difference, q Request) bool {
			return slices.ContainsFunc(differences, func(d Difference) bool {
				return slices.ContainsFunc(d.Principals, func(p Principal) bool { return p.Holds(s.User, s.Groups) && d.of(p, q) })
			})
		}
		one := CompareFor(a, b, s)
		exactly := func(differences []Difference, q Request) bool {
			return slices.ContainsFunc(differences, func(d Difference) bool { return d.of(Principal{User: s.User}, q) })
		}
		for _, q := range everyRequest {
			inA, inB := allowedTo(a, s, q), allowedTo(b, s, q)
			if inB && !inA && !said(c.Widened, q) || inA && !inB && !said(c.Narrowed, q) {
				t.Fatalf("%v by %v: a allows %t, b %t, and nothing says so", q, s, inA, inB)
			}
			if exactly(one.Widened, q) != (inB && !inA) || exactly(one.Narrowed, q) != (inA && !inB) || exactly(one.Equal, q) != (inA && inB) {
				t.Fatalf("%v by %v: a allows %t, b %t; compared alone: %+v", q, s, inA, inB, one)
			}
		}
	})
}

func TestCompareMirrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPolicy(t), drawPolicy(t)
		ab, ba := Compare(a, b), Compare(b, a)
		if x, y := lines(ab.Widened), lines(ba.Narrowed); !slices.Equal(x, y) {
			t.Fatalf("widened %q, narrowed the other way round %q", x, y)
		}
		if x, y := lines(ab.Equal), lines(ba.Equal); !slices.Equal(x, y) {
			t.Fatalf("equal %q, the other way round %q", x, y)
		}
		same := Compare(a, a)
		if len(same.Widened)+len(same.Narrowed) > 0 {
			t.Fatalf("differs from itself: %+v", same)
		}
	})
}

func lines(differences []Difference) []string {
	out := make([]string, len(differences))
	for i := range differences {
		d := &differences[i]
		out[i] = fmt.Sprint(d.Principals, d.Own, &d.Box, d.Dangers)
	}
	return out
}
