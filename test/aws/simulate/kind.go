package simulate

import (
	"maps"
	"slices"
	"strings"
)

// kind is what is known of a resource type beyond its schema, which says neither what a default is nor what AWS makes up.
type kind struct {
	id  string // how AWS forms ids: vpc-{17} is 17 hexadecimal digits, {name} an attribute
	arn string // the rest of the ARN, with {region}, {account}, {id} and attributes

	defaults map[string]any    // of what can be set and is not computed; nested as block.attribute
	replace  string            // what can only be changed by making another object
	alsoIf   map[string]string // a flag, and what replaces too if it is set
	late     string            // blocks that AWS fills in when they are not given
	changing string            // computed attributes that any change may change

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
