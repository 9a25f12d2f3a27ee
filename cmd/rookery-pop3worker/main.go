// Rookery-pop3worker is started by rookery, never by hand; package pop3worker is its manual.
package main

import (
	"os"

	"rookery/pop3worker"
)

func main() { os.Exit(pop3worker.Main()) }
