//go:build race

package master

// raceBuild: such a build cannot be confined, so that the real programs refuse
// to run where master is root.
const raceBuild = true
