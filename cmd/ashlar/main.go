// Command ashlar builds hardened Kubernetes clusters from one file, and proves that they are hardened.
package main

import (
	"os"

	"ashlar.dev/ashlar/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
