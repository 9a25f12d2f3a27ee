// Rookery-logd is started by rookery, never by hand; package logd is its manual.
package main

import (
	"os"

	"rookery/logd"
)

func main() { os.Exit(logd.Main()) }
