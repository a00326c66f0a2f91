package simulate

import (
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ashlar.dev/ashlar/test/aws/schema"
)

// kind is what is known of a resource type beyond its schema, which says neither what a default is nor what AWS makes up.
type kind struct {
	id  string // how AWS forms ids: vpc-{17} is 17 hexadecimal digits, {name} an attribute
	arn string // the rest of the ARN, with {region}, {account}, {id} and attributes

	defaults map[string]any               // of what can be set and is not computed; nested as block.attribute
	onlyIf   map[string]map[string]string // of an attribute, a value, and which defaults there are only with that
	replace  string                       // what can only be changed by making another object
	alsoIf   map[string]string            // a flag, and what replaces too if it is set
	late     string                       // blocks that AWS fills in when they are not given
	changing string                       // computed attributes that any change may change

	one      []string // of each group exactly one must be given
	atMost   []string // of each group at most one
	together []string // of each group all or none

	ahead func(*object)  // what the provider already knows when it plans to make one
	made  func(*object)  // what AWS makes up
	check func(*checked) // what AWS or the provider refuses
}

// late is the id of a kind for what sets it when it is made up.
const late = "-"

var kinds = func() map[string]kind {
	all := map[string]kind{}
	for _, part := range []map[string]kind{networkKinds, computeKinds, balancerKinds, identityKinds, storageKinds, nameKinds} {
		maps.Copy(all, part)
	}
	return all
}()

func (k kind) isLate(block string) bool {
	return slices.Contains(strings.Fields(k.late), block)
}

// hasDefault tells whether the default of an attribute applies, after what decides that.
func (k kind) hasDefault(name string, after map[string]cty.Value) bool {
	for by, cases := range k.onlyIf {
		for value, names := range cases {
			if slices.Contains(strings.Fields(names), name) {
				return known(after[by]) && after[by].AsString() == value
			}
		}
	}
	return true
}

// inOrder are the names of attributes, those first on whose value other defaults depend.
func (k kind) inOrder(attributes map[string]schema.Attribute) []string {
	names := sorted(attributes)
	slices.SortStableFunc(names, func(a, b string) int {
		_, first := k.onlyIf[a]
		_, second := k.onlyIf[b]
		switch {
		case first == second:
			return 0
		case first:
			return -1
		}
		return 1
	})
	return names
}
