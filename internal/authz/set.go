package authz

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Set is a set of strings: some values, or all but some.
type Set struct {
	Values []string `json:"values,omitempty"` // sorted
	// Except turns it round: everything but Values.
	Except bool `json:"except,omitempty"`
}

// Has says whether a value is in the set.
func (s Set) Has(v string) bool {
	_, found := slices.BinarySearch(s.Values, v)
	return found != s.Except
}

// All says whether everything is in the set.
func (s Set) All() bool { return s.Except && len(s.Values) == 0 }

// Text writes the set for people. None stands for the empty string.
func (s Set) Text(none string) string {
	values := make([]string, len(s.Values))
	for i, v := range s.Values {
		values[i] = cmp.Or(v, none)
	}
	list := strings.Join(values, ",")
	switch {
	case s.All():
		return "*"
	case s.Except:
		return "* except " + list
	}
	return list
}

// any returns a member: the first of those wished for that is one, or one of its values, or else the fresh one, which
// no policy names.
func (s Set) any(fresh string, wishes ...string) string {
	for _, w := range wishes {
		if s.Has(w) {
			return w
		}
	}
	if s.Except {
		return fresh
	}
	return s.Values[0]
}

// Paths is a set of non-resource paths. Of all patterns that match a path the most specific decides: the path itself
// before any prefix, a longer prefix before a shorter one.
type Paths struct {
	In  []string `json:"in,omitempty"`
	Out []string `json:"out,omitempty"`
}

// Has says whether a path is in the set.
func (p Paths) Has(path string) bool { return specific(p.In, path) > specific(p.Out, path) }

// specific is how closely the closest of the patterns matches; 0 if none does.
func specific(patterns []string, path string) int {
	best := 0
	for _, pattern := range patterns {
		prefix, wild := pathPrefix(pattern)
		switch {
		case !wild && pattern == path:
			best = max(best, 2*len(path)+2)
		case wild && strings.HasPrefix(path, prefix):
			best = max(best, 2*len(prefix)+1)
		}
	}
	return best
}

func (p Paths) String() string {
	in := strings.Join(p.In, ",")
	if len(p.Out) == 0 {
		return in
	}
	return in + " except " + strings.Join(p.Out, ",")
}

// Box is a set of requests, whoever asks: all combinations of its fields' values. It is of paths if Paths has any, of
// objects otherwise.
type Box struct {
	Verbs Set `json:"verbs"`
	// Resources and Subresources are apart: pods and log, not pods/log. The empty subresource is the object itself.
	APIGroups    Set `json:"apiGroups"`
	Resources    Set `json:"resources"`
	Subresources Set `json:"subresources"`
	// Namespaces has the empty string for what is not in one. Names has it for requests that name no object.
	Namespaces Set   `json:"namespaces"`
	Names      Set   `json:"names"`
	Paths      Paths `json:"paths,omitzero"`
}

func (b *Box) ofPaths() bool { return len(b.Paths.In) > 0 }

// compare gives boxes an order of no meaning.
func (b *Box) compare(o *Box) int {
	return cmp.Or(
		b.Resources.compare(o.Resources), b.Subresources.compare(o.Subresources), b.APIGroups.compare(o.APIGroups), b.Verbs.compare(o.Verbs),
		b.Namespaces.compare(o.Namespaces), b.Names.compare(o.Names), slices.Compare(b.Paths.In, o.Paths.In), slices.Compare(b.Paths.Out, o.Paths.Out))
}

func (s Set) compare(o Set) int {
	if s.Except != o.Except {
		if s.Except {
			return -1
		}
		return 1
	}
	return slices.Compare(s.Values, o.Values)
}

// Has says whether a request is in the box.
func (b *Box) Has(r Request) bool {
	if b.ofPaths() || !r.ResourceRequest {
		return b.ofPaths() && !r.ResourceRequest && b.Verbs.Has(r.Verb) && b.Paths.Has(r.Path)
	}
	return b.Verbs.Has(r.Verb) && b.APIGroups.Has(r.APIGroup) && b.Resources.Has(r.Resource) && b.Subresources.Has(r.Subresource) &&
		b.Namespaces.Has(r.Namespace) && b.Names.Has(r.Name)
}

// String is the box in one line.
func (b *Box) String() string {
	if b.ofPaths() {
		return b.Verbs.Text("(none)") + " " + b.Paths.String()
	}
	out := fmt.Sprintf("%s %s", b.Verbs.Text("(none)"), b.ResourceText())
	if !b.Names.All() {
		out += " named " + b.Names.Text("(no name)")
	}
	if !b.Namespaces.All() {
		out += " in " + b.Namespaces.Text("(no namespace)")
	}
	return out
}

// ResourceText is which resources of which groups, as RBAC would write them where it can.
func (b *Box) ResourceText() string {
	var out string
	switch {
	case b.Subresources.All() && b.Resources.All():
		out = "*"
	case b.Subresources.Except || b.Resources.Except:
		out = b.Resources.Text("")
		if !b.Subresources.All() {
			out += "/(" + b.Subresources.Text("itself") + ")"
		} else {
			out += "[/*]"
		}
	default:
		var list []string
		for _, r := range b.Resources.Values {
			for _, s := range b.Subresources.Values {
				list = append(list, strings.TrimSuffix(r+"/"+s, "/"))
			}
		}
		out = strings.Join(list, ",")
	}
	if !b.APIGroups.All() {
		out += " of " + b.APIGroups.Text("core")
	}
	return out
}
