// Rookery is the mail access server: the parent of all its processes.
package main

import (
	"os"

	"rookery/master"
)

func main() { os.Exit(master.Main()) }
