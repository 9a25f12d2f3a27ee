// Command rookery-authd is started by rookery, never by hand.
package main

import (
	"os"

	"rookery/authd"
)

func main() { os.Exit(authd.Main()) }
