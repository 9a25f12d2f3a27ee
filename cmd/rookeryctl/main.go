// Rookeryctl is the operator's tool; see the package of the same name.
package main

import (
	"os"

	"rookery/rookeryctl"
)

func main() { os.Exit(rookeryctl.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
