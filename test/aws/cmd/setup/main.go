// Command setup makes all that tofu needs to meet the stand-in instead of AWS, in a directory, and prints the path of the
// CLI configuration. See the README of this module.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"ashlar.dev/ashlar/test/aws/sim"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go -C test/aws run ./cmd/setup DIRECTORY")
		os.Exit(64)
	}
	dir, err := filepath.Abs(os.Args[1])
	if err == nil {
		var config string
		if config, err = sim.Setup(context.Background(), dir); err == nil {
			fmt.Println(config)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
