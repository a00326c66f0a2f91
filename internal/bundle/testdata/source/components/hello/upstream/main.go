// Command hello is a component without dependencies.
package main

import "fmt"

var version, minor string

func main() { fmt.Println("hello", version, minor) }
