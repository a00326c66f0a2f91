// Package modules has the modules of OpenTofu that make a cluster on AWS, for the program that drives them.
package modules

import "embed"

// Files are the modules, as they are in this directory.
//
//go:embed *.tf *.tftpl *.json cluster hub jenkins foreman
var Files embed.FS
