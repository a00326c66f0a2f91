// Command local stands for Ashlar itself.
package main

import "fmt"

func main() { fmt.Println("local") }
