// Rookery-dotlock is started by rookery, never by hand; package dotlock is its manual.
package main

import (
	"os"

	"rookery/dotlock"
)

func main() { os.Exit(dotlock.Main()) }
