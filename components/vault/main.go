// Command vault is Vault's own command, built small, with the one cloud's login that Ashlar uses.
//
// Vault is built either with the plug-ins of every database and cloud (361 MB) or, by the tag minimal, with those that
// need none (139 MB), which leaves out the aws auth method. Its registry cannot be added to from outside; so the field is
// found by its name, and a Vault that has changed its mind about it ends here, at its first start, not at a login.
package main

import (
	"os"
	"reflect"
	"unsafe"

	awsauth "github.com/hashicorp/vault/builtin/credential/aws"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/sdk/logical"
)

func main() {
	register("aws", awsauth.Factory)
	os.Exit(command.Run(os.Args[1:]))
}

// register adds an auth method to those that are built in.
func register(name string, factory logical.Factory) {
	field := reflect.ValueOf(builtinplugins.Registry).Elem().FieldByName("credentialBackends")
	backends := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem() // which may be written to
	backend := reflect.New(field.Type().Elem()).Elem()
	backend.FieldByName("Factory").Set(reflect.ValueOf(factory))
	backends.SetMapIndex(reflect.ValueOf(name), backend)
}
