package aws

import (
	"errors"
	"fmt"
	"io/fs"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/exposure"
)

// GraphOf is what the internet could reach of a plan.
func GraphOf(_ *tfjson.Plan, _ fs.FS) (*exposure.Graph, error) {
	return nil, fmt.Errorf("the network of a plan is not understood by this version: %w", errors.ErrUnsupported)
}
