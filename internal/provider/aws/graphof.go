package aws

import (
	"io/fs"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider/aws/topology"
)

// GraphOf is the network that a plan of the modules would make.
func GraphOf(plan *tfjson.Plan, modules fs.FS) (*exposure.Graph, error) {
	return topology.OfPlan(plan, modules)
}
