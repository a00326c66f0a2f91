package simulate

import (
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/test/aws/schema"
)

// TestTables: there is no table of a type that there is not, and groups of arguments are of arguments.
func TestTables(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for typ, k := range kinds {
		b := s.Resources[typ]
		if b == nil {
			t.Errorf("%s is not in schema/types.txt", typ)
			continue
		}
		groups := slices.Concat(k.one, k.atMost, k.together)
		for flag, more := range k.alsoIf {
			groups = append(groups, flag, more)
		}
		for by, cases := range k.onlyIf {
			groups = append(groups, by)
			for _, names := range cases {
				groups = append(groups, names)
			}
		}
		for name := range strings.FieldsSeq(strings.Join(groups, " ")) {
			if !has(b, []string{name}) {
				t.Errorf("%s has no %s", typ, name)
			}
		}
		for path := range k.defaults {
			if a, top := b.Attributes[path]; top && (a.Computed || !a.Optional) {
				t.Errorf("%s.%s cannot have a default: the real schema says %+v", typ, path, a)
			}
		}
	}
	for name, to := range refers {
		if b := s.Resources[to.typ]; b == nil || !has(b, []string{to.by}) {
			t.Errorf("%s refers to %s of %s, which there is not", name, to.by, to.typ)
		}
	}
}
