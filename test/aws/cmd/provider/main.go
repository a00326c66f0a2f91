// Command provider is the plugin that tofu starts as terraform-provider-aws. See the README of this module.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"

	"ashlar.dev/ashlar/test/aws/schema"
	"ashlar.dev/ashlar/test/aws/simulate"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	s, err := schema.Load()
	if err != nil {
		return err
	}
	account := os.Getenv("ASHLAR_AWS_ACCOUNT")
	if account == "" {
		account = "111122223333"
	}
	world := simulate.NewWorld(os.Getenv("ASHLAR_AWS_OBJECTS"))
	return tf5server.Serve("registry.opentofu.org/hashicorp/aws", func() tfprotov5.ProviderServer { return simulate.New(s, world, account) })
}
