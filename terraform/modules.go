// Package terraform holds the modules that machines on AWS are made by, so that ashlar has them wherever it is.
package terraform

import (
	"embed"
	"io/fs"
)

//go:embed aws
var modules embed.FS

// AWS is the directory aws, with the root module in its root.
func AWS() fs.FS {
	sub, err := fs.Sub(modules, "aws")
	if err != nil {
		panic(err) // it is embedded
	}
	return sub
}
