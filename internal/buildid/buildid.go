// Package buildid names this build. Programs of two builds refuse to talk to
// each other: every channel opens with the id.
package buildid

import "runtime/debug"

// stamp is set by the linker: -X rookery/internal/buildid.stamp=….
var stamp string

// Version is the release that this tree becomes.
const Version = "0.1.0"

// ID is the id that `make build` gives to all programs of one build, or "dev"
// joined with the compiler's version where they were built by hand.
func ID() string {
	if stamp != "" {
		return stamp
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return "dev-" + info.GoVersion
	}
	return "dev"
}
